// Google's own in-memory Pub/Sub server, for tests: `pubsub PORT` serves on 127.0.0.1 until it is ended.
package main

import (
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"cloud.google.com/go/pubsub/v2/pstest"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: pubsub PORT")
	}
	port, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatalf("port %q is no number", os.Args[1])
	}
	server := pstest.NewServerWithAddress(fmt.Sprintf("127.0.0.1:%d", port))
	fmt.Println(server.Addr)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
	if err := server.Close(); err != nil {
		log.Fatal(err)
	}
}
