/*
 * The process that holds a pod's namespaces while its containers come and go. It does nothing but wait, reap what was left
 * to it (it is the first process where a pod's containers share process ids), and end when it is asked to.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) {
  (void)signal;
  _exit(0);
}

static void reap(int signal) {
  (void)signal;
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }
}

int main(void) {
  struct sigaction ending = {.sa_handler = end};
  struct sigaction reaping = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
  if (sigaction(SIGINT, &ending, NULL) < 0 || sigaction(SIGTERM, &ending, NULL) < 0) return EXIT_FAILURE;
  if (sigaction(SIGCHLD, &reaping, NULL) < 0) return EXIT_FAILURE;
  for (;;) pause();
}
