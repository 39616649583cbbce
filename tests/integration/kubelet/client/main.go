// Command client drives exec, attach and port-forward as programs on client-go do: `client KUBECONFIG NAMESPACE POD WAY`,
// WAY being spdy or websocket. The pod has a container main with a shell, a line-by-line echo on its input, and a server
// that gives back what it gets on port 8080. It says `ok` and ends with 0 when everything was as it has to be.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
)

type pod struct {
	config *rest.Config
	client *kubernetes.Clientset
	space  string
	name   string
	spdy   bool
}

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func run(kubeconfig, space, name, way string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	p := &pod{config: config, client: client, space: space, name: name, spdy: way == "spdy"}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for name, check := range map[string]func(context.Context) error{
		"exec": p.exec, "exit code": p.exitCode, "not found": p.notFound, "attach": p.attach, "port-forward": p.forward,
	} {
		if err := check(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (p *pod) url(subresource string, options *corev1.PodExecOptions) *url.URL {
	request := p.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(p.space).Name(p.name).
		SubResource(subresource)
	switch {
	case subresource == "attach":
		request = request.VersionedParams(&corev1.PodAttachOptions{
			Container: "main", Stdin: options.Stdin, Stdout: options.Stdout, Stderr: options.Stderr,
		}, scheme.ParameterCodec)
	case options != nil:
		request = request.VersionedParams(options, scheme.ParameterCodec)
	}
	return request.URL()
}

func (p *pod) stream(ctx context.Context, subresource string, options *corev1.PodExecOptions, in io.Reader, out io.Writer) error {
	at := p.url(subresource, options)
	var executor remotecommand.Executor
	var err error
	if p.spdy {
		executor, err = remotecommand.NewSPDYExecutor(p.config, http.MethodPost, at)
	} else {
		executor, err = remotecommand.NewWebSocketExecutor(p.config, http.MethodGet, at.String())
	}
	if err != nil {
		return err
	}
	return executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: out})
}

func command(stdin bool, words ...string) *corev1.PodExecOptions {
	return &corev1.PodExecOptions{Container: "main", Command: words, Stdin: stdin, Stdout: true}
}

func (p *pod) exec(ctx context.Context) error {
	sent := make([]byte, 1<<20)
	if _, err := rand.Read(sent); err != nil {
		return err
	}
	var heard bytes.Buffer
	if err := p.stream(ctx, "exec", command(true, "cat"), bytes.NewReader(sent), &heard); err != nil {
		return err
	}
	if !bytes.Equal(heard.Bytes(), sent) {
		return fmt.Errorf("%d bytes came back of %d", heard.Len(), len(sent))
	}
	return nil
}

func (p *pod) exitCode(ctx context.Context) error {
	err := p.stream(ctx, "exec", command(false, "sh", "-c", "exit 3"), nil, io.Discard)
	var code exec.CodeExitError
	if !errors.As(err, &code) || code.Code != 3 {
		return fmt.Errorf("exit 3 became %v", err)
	}
	return nil
}

func (p *pod) notFound(ctx context.Context) error {
	err := p.stream(ctx, "exec", command(false, "no-such-program"), nil, io.Discard)
	var code exec.CodeExitError
	if err == nil || errors.As(err, &code) || !strings.Contains(err.Error(), "executable file not found") {
		return fmt.Errorf("a program that is not there became %v", err)
	}
	return nil
}

// attach sends a line and leaves once it has heard its echo.
func (p *pod) attach(ctx context.Context) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	reader, writer := io.Pipe()
	line := "line of " + fmt.Sprint(p.spdy)
	go func() {
		fmt.Fprintln(writer, line)
	}()
	heard := &until{wanted: "heard " + line, met: leave}
	err := p.stream(ctx, "attach", &corev1.PodExecOptions{Stdin: true, Stdout: true}, reader, heard)
	if !errors.Is(err, context.Canceled) || !heard.done {
		return fmt.Errorf("heard %q: %v", heard.said.String(), err)
	}
	return nil
}

type until struct {
	said   bytes.Buffer
	wanted string
	met    func()
	done   bool
}

func (u *until) Write(data []byte) (int, error) {
	u.said.Write(data)
	if !u.done && strings.Contains(u.said.String(), u.wanted) {
		u.done = true
		u.met()
	}
	return len(data), nil
}

func (p *pod) dialer() (httpstream.Dialer, error) {
	at := p.url("portforward", nil)
	if !p.spdy {
		return portforward.NewSPDYOverWebsocketDialer(at, p.config)
	}
	transport, upgrader, err := spdy.RoundTripperFor(p.config)
	if err != nil {
		return nil, err
	}
	return spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, at), nil
}

// forward has three connections at the same time echo what they are sent.
func (p *pod) forward(context.Context) error {
	dialer, err := p.dialer()
	if err != nil {
		return err
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewOnAddresses(
		dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, os.Stderr)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		return err
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return err
	}
	echoes := make(chan error)
	for range 3 {
		go func() { echoes <- echo(fmt.Sprintf("127.0.0.1:%d", ports[0].Local)) }()
	}
	for range 3 {
		if err := <-echoes; err != nil {
			return err
		}
	}
	close(stop)
	return <-ended
}

func echo(address string) error {
	connection, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	sent := make([]byte, 300_000)
	if _, err := rand.Read(sent); err != nil {
		return err
	}
	go connection.Write(sent)
	heard := make([]byte, len(sent))
	if _, err := io.ReadFull(connection, heard); err != nil {
		return err
	}
	if !bytes.Equal(heard, sent) {
		return errors.New("something else came back")
	}
	return nil
}
