// Command refship-hook is what git runs as pre-receive and post-receive in a repository that a refship server serves.
// It decides nothing: it hands its input to the server's socket and relays what the server says. It runs twice in every
// push, so it starts fast: no package of refship, no net, no fmt. The protocol is described in package
// hooks/socket.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Frames of the protocol: a type byte, a length of four bytes (big endian), the payload.
const (
	frameVar    = 'v' // to the server: NAME=VALUE
	frameInput  = 'i' // to the server: a piece of standard input
	frameEnd    = 'e' // to the server: end of standard input
	frameOutput = 'o' // from the server: text for standard error
	frameExit   = 'x' // from the server: one byte, the exit status; always the last frame
	maxFrame    = 256 << 10
)

const sameVersion = "are refship and refship-hook of one version?"

const (
	pre  = "pre-receive"
	post = "post-receive"
)

func main() {
	if len(os.Args) > 1 { // git takes it for the program that checks signatures (gpg.ssh.program)
		os.Exit(checkNothing(os.Stdin))
	}
	os.Exit(run(filepath.Base(os.Args[0])))
}

// checkNothing reads what is signed, of which git would die if nobody did, and knows no key: the server itself checks
// signatures.
func checkNothing(signed io.Reader) int {
	_, _ = io.Copy(io.Discard, signed) // whatever comes, the answer is no
	return 1
}

// run gives the exit status. Every failure refuses the push: only what the server has checked is stored.
func run(hook string) int {
	if hook != pre && hook != post {
		return fail(hook, "git runs this program as "+pre+" and "+post+", not as "+hook, "start it by a git push")
	}
	socket, token := os.Getenv("REFSHIP_HOOK_SOCKET"), os.Getenv("REFSHIP_HOOK_TOKEN")
	if socket == "" || token == "" {
		return fail(hook, "this repository is served by refship: push through its ssh server",
			"git push ssh://git@HOST:PORT/REPOSITORY, as `refship serve` prints it")
	}
	status, err := talk(hook, socket, token)
	if err != nil {
		hint := "is `refship serve` running? push again when it is"
		if hook == post {
			hint = "the ref has moved; refship deploys it when its server starts again, or by: ssh HOST deploy REPOSITORY"
		}
		return fail(hook, err.Error(), hint)
	}
	return status
}

// fail says what went wrong; by the time of post-receive the ref has moved already.
func fail(hook, what, hint string) int {
	start := "refship: refused: "
	if hook == post {
		start = "refship: pushed, not deployed: "
	}
	_, _ = os.Stderr.WriteString(start + what + "\nrefship: hint: " + hint + "\n")
	return 1
}

// talk sends everything to the server and relays its answer.
func talk(hook, socket, token string) (int, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, errors.New("make a socket: " + err.Error())
	}
	server := os.NewFile(uintptr(fd), socket)
	defer server.Close()
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket}); err != nil {
		return 0, errors.New("the refship server does not answer at " + socket + ": " + err.Error())
	}
	sent := send(server, hook, token)
	// Read the answer even if sending broke: a server that refuses early says why.
	status, err := relay(server)
	if err != nil && sent != nil {
		return 0, sent
	}
	return status, err
}

func send(server io.Writer, hook, token string) error {
	vars := []string{"REFSHIP_HOOK_TOKEN=" + token, "REFSHIP_HOOK=" + hook}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "GIT_PUSH_") || strings.HasPrefix(v, "GIT_QUARANTINE_PATH=") ||
			strings.HasPrefix(v, "GIT_OBJECT_DIRECTORY=") || strings.HasPrefix(v, "GIT_ALTERNATE_OBJECT_DIRECTORIES=") {
			vars = append(vars, v)
		}
	}
	w := bufio.NewWriterSize(server, 128<<10) // it keeps its first error, and Flush gives that
	for _, v := range vars {
		writeFrame(w, frameVar, []byte(v))
	}
	input := make([]byte, 64<<10)
	for {
		n, err := os.Stdin.Read(input)
		if n > 0 {
			writeFrame(w, frameInput, input[:n])
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return errors.New("read git's ref updates: " + err.Error())
		}
	}
	writeFrame(w, frameEnd, nil)
	if err := w.Flush(); err != nil {
		return errors.New("send to the refship server: " + err.Error())
	}
	return nil
}

func writeFrame(w *bufio.Writer, kind byte, payload []byte) {
	_, _ = w.Write(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload))))
	_, _ = w.Write(payload)
}

// relay copies the server's words to standard error until it gives the exit status.
func relay(server io.Reader) (int, error) {
	var head [5]byte
	for {
		if _, err := io.ReadFull(server, head[:]); err != nil {
			return 0, errors.New("the refship server went away before it answered: " + err.Error())
		}
		size := binary.BigEndian.Uint32(head[1:])
		if size > maxFrame || (head[0] == frameExit && size != 1) {
			return 0, errors.New("the refship server sent a frame that is too large: " + sameVersion)
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(server, payload); err != nil {
			return 0, errors.New("the refship server went away while it answered: " + err.Error())
		}
		switch head[0] {
		case frameOutput:
			_, _ = os.Stderr.Write(payload) // a failure could not be told either
		case frameExit:
			return int(payload[0]), nil
		default:
			return 0, errors.New("the refship server sent an unknown frame: " + sameVersion)
		}
	}
}
