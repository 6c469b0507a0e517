package main

import (
	"context"
	"errors"
	"io"
	"runtime"
	"unsafe"

	"guests/go/cm"
)

type Field struct{ Name, Value string }

// A Request is one that has come. Its Body is there to be read once.
type Request struct {
	Path   string
	Header []Field
	Body   io.Reader
}

// A Response is sent with its first byte, or when Serve returns; Status and Header are to be set before that.
type Response struct {
	Status   uint32
	Header   []Field
	task     *cm.Task
	body     *cm.Writer
	trailers uint32 // the writable end; 0 until the response is sent
}

// A room for result<..., error-code>, whose payload is at 8. Zeros are the ok case, and no trailers.
type result [8]uint64

// handle answers a request: it is the body of the export's task.
func handle(t *cm.Task, request uint32) error {
	path := new([3]uint32)
	requestGetPath(request, unsafe.Pointer(path))
	body := &requestBody{task: t, request: request}
	given := &Request{Header: readFields(requestGetHeaders(request)), Body: body}
	if path[0] != 0 {
		given.Path = cm.View{Pointer: path[1], Length: path[2]}.String()
	}
	response := &Response{task: t, Status: 200}
	err := Serve(t, given, response)
	if t.Err() != nil && response.trailers == 0 {
		body.end()
		return err // the request was cancelled
	}
	if err != nil && response.trailers == 0 {
		response.Status, response.Header = 500, nil
	}
	response.send()
	response.body.Close()
	endTrailers(t, response.trailers)
	return body.end()
}

// send gives the response to the host, with a body that is still to be written.
func (r *Response) send() {
	if r.trailers != 0 {
		return
	}
	body, readable := cm.NewStream(r.task)
	trailers := trailersNew()
	made := new([2]uint32)
	responseNew(newFields(r.Header), 1, readable, uint32(trailers), unsafe.Pointer(made))
	responseSetStatus(made[0], r.Status)
	outcomeDropReadable(made[1])
	r.body, r.trailers = body, uint32(trailers>>32)
	r.task.Return(func() { returnHandle(0, made[0], 0, 0, 0, 0, 0, 0) })
}

func (r *Response) Write(p []byte) (int, error) {
	r.send()
	return r.body.Write(p)
}

// requestBody takes the body out of its request when it is first read.
type requestBody struct {
	task    *cm.Task
	request uint32 // 0 once its body was taken out
	reader  *cm.Reader
	handled uint32 // the writable end
}

func (b *requestBody) take() (request uint32) {
	request, b.request = b.request, 0
	return request
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.reader == nil {
		b.reader, b.handled = consume(b.task, b.take(), requestConsumeBody)
	}
	return b.reader.Read(p)
}

// end says that the request was handled.
func (b *requestBody) end() error {
	if b.reader == nil {
		requestDrop(b.take())
		return nil
	}
	b.reader.Close()
	return endOutcome(b.task, b.handled)
}

// consume takes the body out of a message. Its trailers are not looked at.
func consume(
	ctx context.Context, message uint32, consumeBody func(message, handled uint32, result unsafe.Pointer),
) (body *cm.Reader, handled uint32) {
	outcome := outcomeNew()
	ends := new([2]uint32)
	consumeBody(message, uint32(outcome), unsafe.Pointer(ends))
	trailersDropReadable(ends[1])
	return cm.NewReader(ctx, ends[0]), uint32(outcome >> 32)
}

// endOutcome says that a body was handled well. A future has to be written before its end is dropped.
func endOutcome(ctx context.Context, writable uint32) error {
	_, err := cm.Await(ctx, writable, outcomeWrite(writable, unsafe.Pointer(new(result))), outcomeCancelWrite)
	if err == nil {
		outcomeDropWritable(writable)
	}
	return err
}

// endTrailers ends a message without trailers.
func endTrailers(ctx context.Context, writable uint32) error {
	_, err := cm.Await(ctx, writable, trailersWrite(writable, unsafe.Pointer(new(result))), trailersCancelWrite)
	if err == nil {
		trailersDropWritable(writable)
	}
	return err
}

// Get sends a request for the path / to a server, and returns the body of its response.
func Get(ctx context.Context, authority string) (io.ReadCloser, error) {
	trailers := trailersNew()
	made := new([2]uint32)
	requestNew(newFields(nil), 0, 0, uint32(trailers), 0, 0, unsafe.Pointer(made))
	outcomeDropReadable(made[1])
	const schemeHTTP = 0
	requestSetScheme(made[0], 1, schemeHTTP, nil, 0)
	isError := requestSetAuthority(made[0], 1, unsafe.Pointer(unsafe.StringData(authority)), uint32(len(authority)))
	if isError != 0 {
		return nil, errors.New("it is no authority")
	}
	go endTrailers(ctx, uint32(trailers>>32)) // who answers may have done so before it takes them
	sent := new(result)
	if err := cm.Call(ctx, func() uint32 { return clientSend(made[0], unsafe.Pointer(sent)) }); err != nil {
		return nil, err
	}
	if byte(sent[0]) != 0 {
		return nil, errors.New("the request failed")
	}
	body, handled := consume(ctx, uint32(sent[1]), responseConsumeBody)
	return &responseBody{body, ctx, handled}, nil
}

type responseBody struct {
	*cm.Reader
	ctx     context.Context
	handled uint32
}

func (b *responseBody) Close() error {
	b.Reader.Close()
	return endOutcome(b.ctx, b.handled)
}

// readFields copies fields and drops them. A list of pairs of strings lies in memory as one of twice as many strings.
func readFields(fields uint32) []Field {
	list := new(cm.View)
	fieldsCopyAll(fields, unsafe.Pointer(list))
	fieldsDrop(fields)
	words := cm.View{Pointer: list.Pointer, Length: 2 * list.Length}.Strings()
	read := make([]Field, len(words)/2)
	for i := range read {
		read[i] = Field{words[2*i], words[2*i+1]}
	}
	return read
}

func newFields(list []Field) uint32 {
	words := make([]string, 0, 2*len(list))
	for _, field := range list {
		words = append(words, field.Name, field.Value)
	}
	views := cm.ViewsOf(words)
	made := new([5]uint32) // result<fields, header-error>
	fieldsFromList(unsafe.Pointer(unsafe.SliceData(views)), uint32(len(list)), unsafe.Pointer(made))
	runtime.KeepAlive(words)
	if byte(made[0]) != 0 {
		panic("the fields are none")
	}
	return made[1]
}

func main() {} // never called: the host calls wasi:http/handler
