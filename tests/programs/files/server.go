// Tells callers their address and its own, or calls the URL that is given. Both
// ask the kernel for Multipath TCP: servers do by themselves.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func call(url string) error {
	var dialer net.Dialer
	dialer.SetMultipathTCP(true)
	client := http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

func tell(answer http.ResponseWriter, request *http.Request) {
	own := request.Context().Value(http.LocalAddrContextKey).(net.Addr)
	at, _, _ := net.SplitHostPort(own.String())
	from, _, _ := net.SplitHostPort(request.RemoteAddr)
	fmt.Fprintf(answer, "%s asked %s\n", from, at)
}

func main() {
	if len(os.Args) > 1 {
		if err := call(os.Args[1]); err != nil {
			log.Fatal(err)
		}
		return
	}
	http.HandleFunc("/", tell)
	log.Fatal(http.ListenAndServe(":8080", nil))
}
