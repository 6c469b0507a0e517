// A command in Rust, over its standard library alone. See ../README.md for its arguments.
use std::io::{self, BufRead, Write};
use std::time::Duration;
use std::{env, fs, process, thread};

fn main() {
    if let Err(error) = run(&env::args().collect::<Vec<_>>()) {
        eprintln!("{}", error);
        process::exit(1);
    }
}

fn run(args: &[String]) -> io::Result<()> {
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let mut stdout = io::stdout().lock();
    match words[..] {
        ["arguments", ..] => {
            for arg in args {
                writeln!(stdout, "{}", arg)?;
            }
        }
        ["variable", name] => {
            let value = env::var(name).map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
            writeln!(stdout, "{}", value)?;
        }
        ["upper"] => {
            let mut stdin = io::stdin().lock();
            let mut line = String::new();
            while stdin.read_line(&mut line)? > 0 {
                stdout.write_all(line.to_uppercase().as_bytes())?;
                stdout.flush()?;
                line.clear();
            }
        }
        ["lines", count] => {
            for i in 0..number(count)? {
                writeln!(stdout, "{}", i)?;
            }
        }
        ["sleep", ms] => {
            thread::sleep(Duration::from_millis(number(ms)?));
            writeln!(stdout, "slept")?;
        }
        ["copy", from, to] => fs::write(to, fs::read_to_string(from)?.to_uppercase())?,
        ["list", path] => {
            let entries: io::Result<Vec<_>> = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect();
            let mut names = entries?;
            names.sort();
            for name in names {
                writeln!(stdout, "{}", name.to_string_lossy())?;
            }
        }
        ["status", status] => process::exit(number(status)? as i32),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such verb")),
    }
    stdout.flush()
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}
