/*
 * The CNI plugin that a container runtime starts: it hands its standard input and the CNI_* variables to the node agent
 * over a unix socket and copies the answer back. All real work is the agent's, so that an ADD costs one small process.
 *
 * On the socket it speaks HTTP (POST /cni, one request a connection): the body is the network configuration as it came,
 * the variables are headers (CNI_CONTAINERID becomes Cni-Containerid), percent-encoded outside printable ASCII. Status
 * 200 means success, anything else failure; the body is the CNI result or error.
 *
 * A DEL that no agent takes is remembered: its request, as it would have been sent, becomes a file in the folder
 * `<socket>.del`, and the runtime hears success, so that a container can go while the agent is away. The agent does what
 * stands in the folder when it serves again.
 *
 * The socket's path: $GINGHAM_CNI_SOCKET, else the first line of the file `<this program>.socket`, else the default.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef DEFAULT_SOCKET
#define DEFAULT_SOCKET "/run/gingham/agent.sock"
#endif
#ifndef TIME_LIMIT
#define TIME_LIMIT 90 /* seconds; Calico gives a CNI operation as long */
#endif

/* What may wait for an agent: a request has a few kilobytes, and a node has at most some hundred containers. */
#define LARGEST_REQUEST (64 * 1024)
#define MOST_FILES 4096

/* Error codes of the CNI specification, "Error". */
enum { INVALID_ENVIRONMENT = 4, IO_FAILURE = 5, TRY_AGAIN_LATER = 11, NOT_AVAILABLE = 50 };

struct text {
  char *bytes;
  size_t length, room;
};

/* The specification version of the configuration, so that errors carry it as well; the newest without one. */
static char cni_version[16] = "1.1.0";
static char spool[sizeof((struct sockaddr_un *)0)->sun_path + 8], remembered[512];
static char socket_path[sizeof((struct sockaddr_un *)0)->sun_path] = DEFAULT_SOCKET;
/* Made ahead, because a signal handler may only write. */
static char too_late[512];

static void write_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = write(fd, bytes, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(1);
    bytes += n;
    length -= (size_t)n;
  }
}

static void append(struct text *text, const char *bytes, size_t length) {
  if (text->length + length + 1 > text->room) {
    text->room = 2 * text->room + length + 4096;
    text->bytes = realloc(text->bytes, text->room);
    if (text->bytes == NULL) _exit(1);
  }
  memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
  text->bytes[text->length] = 0;
}

static void append_string(struct text *text, const char *string) { append(text, string, strlen(string)); }

/* Appends the inside of a JSON string. A path may hold bytes that JSON does not take; they become question marks. */
static void append_json(struct text *text, const char *string) {
  for (; *string; string++) {
    unsigned char c = (unsigned char)*string;
    if (c == '"' || c == '\\') append(text, "\\", 1);
    append(text, c < 0x20 || c > 0x7e ? "?" : string, 1);
  }
}

static struct text error_json(int code, const char *msg, const char *details) {
  struct text json = {0};
  char number[16];
  snprintf(number, sizeof number, "%d", code);
  append_string(&json, "{\"cniVersion\":\"");
  append_string(&json, cni_version);
  append_string(&json, "\",\"code\":");
  append_string(&json, number);
  append_string(&json, ",\"msg\":\"");
  append_json(&json, msg);
  append_string(&json, "\",\"details\":\"");
  append_json(&json, details);
  append_string(&json, "\"}\n");
  return json;
}

static void fail(int code, const char *msg, const char *details) {
  struct text json = error_json(code, msg, details);
  write_all(STDOUT_FILENO, json.bytes, json.length);
  exit(1);
}

/* A container id and an interface name that can stand in a file's name, as the specification wants them. */
static int is_plain(const char *name, size_t most) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
  size_t length = name == NULL ? 0 : strlen(name);
  return length > 0 && length <= most && name[0] != '.' && name[0] != '-' && strspn(name, allowed) == length;
}

static int count_files(const char *folder) {
  DIR *dir = opendir(folder);
  int count = 0;
  if (dir == NULL) return -1;
  while (readdir(dir) != NULL) count++;
  closedir(dir);
  return count;
}

/* Where this request is remembered, in a folder that is made if need be; 0, or why not. */
static const char *find_place(void) {
  const char *container = getenv("CNI_CONTAINERID"), *interface = getenv("CNI_IFNAME");
  if (!is_plain(container, 200) || !is_plain(interface, 15)) return "the container or interface name is not valid";
  snprintf(spool, sizeof spool, "%s.del", socket_path);
  if (mkdir(spool, 0700) < 0 && errno != EEXIST) return strerror(errno);
  if (count_files(spool) > MOST_FILES) return "too many requests wait for the agent";
  snprintf(remembered, sizeof remembered, "%s/%s-%s.http", spool, container, interface);
  return NULL;
}

static int sync_folder(const char *folder) {
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int result = fd < 0 ? -1 : fsync(fd);
  if (fd >= 0) close(fd);
  return result;
}

/* Makes the request a file, whole or not at all and also after a loss of power; NULL, or why not. */
static const char *remember(const struct text *request) {
  char fresh[sizeof remembered + 32];
  const char *why = find_place();
  if (why != NULL) return why;
  if (request->length > LARGEST_REQUEST) return "the network configuration is too long to be remembered";
  snprintf(fresh, sizeof fresh, "%s.%ld.new", remembered, (long)getpid());
  int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return strerror(errno);
  if (write(fd, request->bytes, request->length) == (ssize_t)request->length && fsync(fd) == 0 && close(fd) == 0 &&
      rename(fresh, remembered) == 0 && sync_folder(spool) == 0)
    return NULL;
  why = strerror(errno);
  unlink(fresh);
  return why;
}

static void no_answer(const char *why) {
  const char *command = getenv("CNI_COMMAND");
  char msg[256];
  snprintf(msg, sizeof msg, "the gingham agent does not answer at %s: check that it runs on this node", socket_path);
  /* STATUS asks whether an ADD could be served, and has its own word for no. */
  fail(command != NULL && strcmp(command, "STATUS") == 0 ? NOT_AVAILABLE : TRY_AGAIN_LATER, msg, why);
}

static void on_alarm(int signal_number) {
  (void)signal_number;
  write_all(STDOUT_FILENO, too_late, strlen(too_late));
  _exit(1);
}

static void find_socket(void) {
  const char *given = getenv("GINGHAM_CNI_SOCKET");
  char line[sizeof socket_path + 2] = "", own[4096];
  if (given == NULL || *given == 0) {
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - sizeof ".socket");
    if (n <= 0) return;
    strcpy(own + n, ".socket");
    FILE *file = fopen(own, "re");
    if (file == NULL) return;
    given = fgets(line, sizeof line, file);
    fclose(file);
    if (given == NULL) return;
    line[strcspn(line, "\r\n")] = 0;
    if (*line == 0) return;
  }
  if (strlen(given) >= sizeof socket_path)
    fail(INVALID_ENVIRONMENT, "the path of the agent's socket is too long for a unix socket", given);
  strcpy(socket_path, given);
}

/* Reads to the end. Returns 0, or -1 with errno. */
static int read_all(int fd, struct text *text) {
  char chunk[16384];
  for (;;) {
    ssize_t n = read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      append(text, "", 0);
      return n < 0 ? -1 : 0;
    }
    append(text, chunk, (size_t)n);
  }
}

/* Takes the value after the first "cniVersion" that looks like a version. No more of the JSON is looked at here. */
static void find_version(const struct text *config) {
  const char *key = config->length > 0 ? strstr(config->bytes, "\"cniVersion\"") : NULL;
  char found[sizeof cni_version];
  if (key != NULL && sscanf(key + strlen("\"cniVersion\""), " : \"%15[0-9.]\"", found) == 1) strcpy(cni_version, found);
}

static void append_header(struct text *request, const char *variable) {
  const char *value = getenv(variable);
  if (value == NULL) return;
  append(request, "Cni-", 4);
  append(request, variable + 4, 1);
  for (const char *c = variable + 5; *c; c++) {
    char lower = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    append(request, &lower, 1);
  }
  append_string(request, ": ");
  for (; *value; value++) {
    unsigned char c = (unsigned char)*value;
    char escaped[4];
    snprintf(escaped, sizeof escaped, "%%%02X", c);
    if (c <= 0x20 || c > 0x7e || c == '%') append(request, escaped, 3);
    else append(request, value, 1);
  }
  append_string(request, "\r\n");
}

static struct text make_request(const struct text *config) {
  static const char *const variables[] = {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME",
                                          "CNI_ARGS",    "CNI_PATH",        "CNI_NETNS_OVERRIDE"};
  struct text request = {0};
  char length[64];
  append_string(&request, "POST /cni HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Type: application/json\r\n");
  for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) append_header(&request, variables[i]);
  snprintf(length, sizeof length, "Content-Length: %zu\r\n\r\n", config->length);
  append_string(&request, length);
  append(&request, config->bytes, config->length);
  return request;
}

/* Gives a connection, or -1 with errno. */
static int connect_agent(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  strcpy(address.sun_path, socket_path);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) return -1;
  return fd;
}

/* A header's value, or NULL. `head` is the reply, `end` the empty line that ends its headers. */
static const char *header(const char *head, const char *end, const char *name) {
  for (const char *line = head; line < end; line++)
    if (line[0] == '\n' && strncasecmp(line + 1, name, strlen(name)) == 0) {
      line += 1 + strlen(name);
      return line + strspn(line, " ");
    }
  return NULL;
}

/* Joins the chunks of a body (RFC 9112, 7.1) in place. Returns its length, or -1 when its end is missing. */
static long join_chunks(char *body, size_t length) {
  char *from = body, *to = body, *const end = body + length;
  for (;;) {
    char *data;
    unsigned long size = strtoul(from, &data, 16);
    char *line_end = data == from ? NULL : strstr(data, "\r\n");
    if (line_end == NULL) return -1;
    if (size == 0) return to - body;
    from = line_end + 2;
    if (size > (size_t)(end - from)) return -1;
    memmove(to, from, size);
    to += size;
    from += size;
    if (strncmp(from, "\r\n", 2) != 0) return -1;
    from += 2;
  }
}

/* The length of the body, joined if it came in chunks; -1 unless it is whole. */
static long whole_body(const char *head, char *body, size_t length) {
  const char *end = body - 4;
  const char *encoding = header(head, end, "Transfer-Encoding:"), *promised = header(head, end, "Content-Length:");
  if (encoding != NULL && strncasecmp(encoding, "chunked", 7) == 0) return join_chunks(body, length);
  return promised != NULL && atol(promised) == (long)length ? (long)length : -1;
}

int main(void) {
  const char *command = getenv("CNI_COMMAND");
  struct text config = {0}, reply = {0}, late;
  int status = 0;

  signal(SIGPIPE, SIG_IGN);
  find_socket();
  late = error_json(TRY_AGAIN_LATER, "the gingham agent took too long: see its log on this node", socket_path);
  snprintf(too_late, sizeof too_late, "%s", late.bytes);
  signal(SIGALRM, on_alarm);
  alarm(TIME_LIMIT);

  if (command == NULL || *command == 0)
    fail(INVALID_ENVIRONMENT, "CNI_COMMAND is not set: this program is started by a container runtime", "");
  if (read_all(STDIN_FILENO, &config) < 0)
    fail(IO_FAILURE, "the network configuration on standard input cannot be read", strerror(errno));
  find_version(&config);
  if (strcmp(command, "VERSION") == 0) {
    printf("{\"cniVersion\":\"%s\",\"supportedVersions\":"
           "[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n",
           cni_version);
    return 0;
  }

  struct text request = make_request(&config);
  int is_del = strcmp(command, "DEL") == 0, fd = connect_agent();
  if (fd < 0) {
    const char *why = strerror(errno), *not_remembered = is_del ? remember(&request) : why;
    if (not_remembered != NULL) no_answer(not_remembered);
    /* An agent that began to serve just now may have looked at the folder before the file was there. */
    fd = connect_agent();
    if (fd < 0) return 0;
  }
  for (size_t sent = 0; sent < request.length;) {
    ssize_t n = write(fd, request.bytes + sent, request.length - sent);
    if (n < 0 && errno == EINTR) continue;
    /* An agent that refuses early has answered already: read what it said. */
    if (n <= 0) break;
    sent += (size_t)n;
  }
  const char *why = read_all(fd, &reply) < 0 ? strerror(errno) : "the connection ended before a reply";
  char *end = strstr(reply.bytes, "\r\n\r\n"), *body = end == NULL ? NULL : end + 4;
  long length = -1;
  if (end != NULL && sscanf(reply.bytes, "HTTP/1.%*d %d", &status) == 1) {
    length = whole_body(reply.bytes, body, reply.length - (size_t)(body - reply.bytes));
    why = "the reply is not whole";
  }
  /* Half a result must not look like a result. An agent that died at its work has the request to do again. */
  if (length < 0) {
    if (is_del) why = remember(&request);
    if (why == NULL) return 0;
    no_answer(why);
  }
  /* Done, or refused for a reason that the runtime hears: nothing is left to remember. */
  if (*remembered != 0) unlink(remembered);
  write_all(STDOUT_FILENO, body, (size_t)length);
  return status == 200 ? 0 : 1;
}
