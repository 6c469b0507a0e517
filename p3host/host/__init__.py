"""What joins the runtime to the event loop: the only rooms that wait."""
