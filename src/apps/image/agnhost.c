/*
 * What the image of Kubernetes' test server starts instead of the server, on kernels without SCTP: there the server ends at
 * once when it is told to serve a port over SCTP. Those ports are taken out of what it is told; with nothing left to serve
 * it waits, so that its container runs and its pod is ready. Everything else goes on to the server as it is.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVER "/agnhost-server"
#define SCTP 132

extern char **environ;

static int begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

int main(int argc, char **argv) {
  int fd = socket(AF_INET, SOCK_STREAM, SCTP);
  int served = 0, taken = 0;
  if (fd < 0 && errno == EPROTONOSUPPORT && argc > 1 && strcmp(argv[1], "porter") == 0) {
    char **to = environ;
    for (char **from = environ; *from; from++) {
      if (begins(*from, "SERVE_SCTP_PORT_")) {
        taken++;
        continue;
      }
      served += begins(*from, "SERVE_");
      *to++ = *from;
    }
    *to = NULL;
    if (taken > 0 && served == 0)
      for (;;) pause();
  }
  if (fd >= 0) close(fd);
  execv(SERVER, argv);
  perror(SERVER);
  return 127;
}
