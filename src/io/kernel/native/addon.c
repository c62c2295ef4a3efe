/* System calls and file-descriptor readiness for Node.js, by Node-API only (one binary serves every Node from 18 on).
 *
 * syscall(nr, ...up to 6)  -> result, or -errno. Numbers and bigints are passed as they are, typed arrays as their address, null as 0.
 * addr(typedArray)         -> its address as a bigint, for structures that hold pointers; valid while the array is referenced.
 * poll(fd, events, cb)     -> a handle; cb(status, events) runs when the descriptor is readable (1) or writable (2).
 * pollOp(handle, op)       -> 0 closes (a second close does nothing), 1 keeps the process alive, 2 does not.
 * SYS_*                    -> the numbers of the system calls on this machine.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

/* Every napi status is checked: a failure becomes a JavaScript exception, unless one is pending already. */
static napi_value fail(napi_env env) {
  const napi_extended_error_info *info = NULL;
  bool pending = false;
  if (napi_get_last_error_info(env, &info) != napi_ok) info = NULL;
  const char *text = info && info->error_message ? info->error_message : "gingham.node: a Node-API call failed";
  if (napi_is_exception_pending(env, &pending) == napi_ok && !pending && napi_throw_error(env, NULL, text) != napi_ok)
    napi_fatal_error("gingham.node", NAPI_AUTO_LENGTH, text, NAPI_AUTO_LENGTH);
  return NULL;
}
#define CHECK(call) do { if ((call) != napi_ok) return fail(env); } while (0)

/* False, with an exception pending, when the value is none of the accepted kinds. */
static bool to_word(napi_env env, napi_value value, long *out) {
  napi_valuetype type;
  bool flag = false;
  if (napi_typeof(env, value, &type) != napi_ok) return fail(env), false;
  if (type == napi_number) {
    int64_t n;
    if (napi_get_value_int64(env, value, &n) != napi_ok) return fail(env), false;
    *out = (long)n;
    return true;
  }
  if (type == napi_bigint) {
    uint64_t n;
    if (napi_get_value_bigint_uint64(env, value, &n, &flag) != napi_ok) return fail(env), false;
    *out = (long)n;
    return true;
  }
  if (type == napi_null) return *out = 0, true;
  if (type == napi_object && napi_is_typedarray(env, value, &flag) == napi_ok && flag) {
    void *data;
    if (napi_get_typedarray_info(env, value, NULL, NULL, &data, NULL, NULL) != napi_ok) return fail(env), false;
    *out = (long)data;
    return true;
  }
  napi_throw_type_error(env, NULL, "a system call takes numbers, bigints, typed arrays and null");
  return false;
}

static napi_value call_syscall(napi_env env, napi_callback_info info) {
  size_t count = 7;
  napi_value args[7], result;
  long word[7] = {0};
  CHECK(napi_get_cb_info(env, info, &count, args, NULL, NULL));
  if (count < 1 || count > 7) {
    napi_throw_type_error(env, NULL, "syscall takes a number and up to six arguments");
    return NULL;
  }
  for (size_t i = 0; i < count; i++)
    if (!to_word(env, args[i], &word[i])) return NULL;
  long rc = syscall(word[0], word[1], word[2], word[3], word[4], word[5], word[6]);
  CHECK(napi_create_int64(env, rc == -1 ? -errno : rc, &result));
  return result;
}

static napi_value call_addr(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value args[1], result;
  long word = 0;
  CHECK(napi_get_cb_info(env, info, &count, args, NULL, NULL));
  if (!to_word(env, args[0], &word)) return NULL;
  CHECK(napi_create_bigint_uint64(env, (uint64_t)word, &result));
  return result;
}

/* Held by two owners: the libuv handle until it is closed, the JavaScript value until it is collected. */
typedef struct {
  uv_poll_t handle;
  napi_env env;
  napi_ref callback, resource;
  napi_async_context context;
  int owners;
  bool closed;
} watcher;

static void release(watcher *w) { if (--w->owners == 0) free(w); }
static void on_closed(uv_handle_t *handle) { release((watcher *)handle); }
static void on_collected(napi_env env, void *data, void *hint) { (void)env, (void)hint, release(data); }

static void close_watcher(void *data) {
  watcher *w = data;
  if (w->closed) return;
  w->closed = true;
  uv_close((uv_handle_t *)&w->handle, on_closed);
  bool ok = napi_delete_reference(w->env, w->callback) == napi_ok;
  ok = napi_delete_reference(w->env, w->resource) == napi_ok && ok;
  ok = napi_async_destroy(w->env, w->context) == napi_ok && ok;
  if (!ok) fail(w->env);
}

static void on_ready(uv_poll_t *handle, int status, int events) {
  watcher *w = (watcher *)handle;
  napi_env env = w->env;
  napi_handle_scope scope;
  napi_value callback, resource, args[2], error;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_status rc = napi_get_reference_value(env, w->callback, &callback);
  if (rc == napi_ok) rc = napi_get_reference_value(env, w->resource, &resource);
  if (rc == napi_ok) rc = napi_create_int32(env, status, &args[0]);
  if (rc == napi_ok) rc = napi_create_int32(env, events, &args[1]);
  /* Not napi_call_function: this one also runs the promises that the callback resolves. */
  if (rc == napi_ok) rc = napi_make_callback(env, w->context, resource, callback, 2, args, NULL);
  if (rc != napi_ok) {
    if (rc != napi_pending_exception) fail(env);
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

static napi_value call_poll(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value args[3], name, resource, result;
  int32_t fd, events;
  uv_loop_t *loop;
  CHECK(napi_get_cb_info(env, info, &count, args, NULL, NULL));
  CHECK(napi_get_value_int32(env, args[0], &fd));
  CHECK(napi_get_value_int32(env, args[1], &events));
  CHECK(napi_get_uv_event_loop(env, &loop));
  CHECK(napi_create_object(env, &resource));
  CHECK(napi_create_string_utf8(env, "gingham.poll", NAPI_AUTO_LENGTH, &name));
  watcher *w = calloc(1, sizeof *w);
  if (!w) return napi_throw_error(env, "ENOMEM", "out of memory"), NULL;
  w->env = env;
  int rc = uv_poll_init(loop, &w->handle, fd);
  if (rc) return free(w), napi_throw_error(env, uv_err_name(rc), uv_strerror(rc)), NULL;
  w->owners = 1;
  if (napi_create_reference(env, args[2], 1, &w->callback) != napi_ok ||
      napi_create_reference(env, resource, 1, &w->resource) != napi_ok ||
      napi_async_init(env, resource, name, &w->context) != napi_ok ||
      napi_create_external(env, w, on_collected, NULL, &result) != napi_ok) {
    uv_close((uv_handle_t *)&w->handle, on_closed);
    return fail(env);
  }
  w->owners = 2;
  CHECK(napi_add_env_cleanup_hook(env, close_watcher, w));
  rc = uv_poll_start(&w->handle, events, on_ready);
  if (rc) return napi_throw_error(env, uv_err_name(rc), uv_strerror(rc)), NULL;
  return result;
}

static napi_value call_poll_op(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value args[2];
  void *data;
  int32_t op;
  CHECK(napi_get_cb_info(env, info, &count, args, NULL, NULL));
  CHECK(napi_get_value_external(env, args[0], &data));
  CHECK(napi_get_value_int32(env, args[1], &op));
  watcher *w = data;
  if (w->closed) return NULL;
  if (op == 0) {
    CHECK(napi_remove_env_cleanup_hook(env, close_watcher, w));
    close_watcher(w);
  } else if (op == 1) uv_ref((uv_handle_t *)&w->handle);
  else uv_unref((uv_handle_t *)&w->handle);
  return NULL;
}

#define FUNCTION(name, call) { name, NULL, call, NULL, NULL, NULL, napi_enumerable, NULL }
static const napi_property_descriptor FUNCTIONS[] = {
    FUNCTION("syscall", call_syscall), FUNCTION("addr", call_addr),
    FUNCTION("poll", call_poll), FUNCTION("pollOp", call_poll_op)};

#define NUMBER(name) { #name, name }
static const struct { const char *name; int32_t number; } NUMBERS[] = {
    NUMBER(SYS_socket), NUMBER(SYS_bind), NUMBER(SYS_connect), NUMBER(SYS_listen), NUMBER(SYS_accept4),
    NUMBER(SYS_sendto), NUMBER(SYS_recvfrom), NUMBER(SYS_sendmsg), NUMBER(SYS_recvmsg), NUMBER(SYS_shutdown),
    NUMBER(SYS_sendmmsg), NUMBER(SYS_recvmmsg), NUMBER(SYS_sched_setaffinity),
    NUMBER(SYS_setsockopt), NUMBER(SYS_getsockopt), NUMBER(SYS_openat), NUMBER(SYS_close),
    NUMBER(SYS_read), NUMBER(SYS_write), NUMBER(SYS_ioctl), NUMBER(SYS_fcntl), NUMBER(SYS_mount), NUMBER(SYS_umount2),
    NUMBER(SYS_setns), NUMBER(SYS_unshare), NUMBER(SYS_flock), NUMBER(SYS_mmap), NUMBER(SYS_munmap), NUMBER(SYS_bpf),
    NUMBER(SYS_perf_event_open), NUMBER(SYS_pidfd_open), NUMBER(SYS_getpid)};

NAPI_MODULE_INIT() {
  CHECK(napi_define_properties(env, exports, sizeof FUNCTIONS / sizeof *FUNCTIONS, FUNCTIONS));
  for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
    napi_value number;
    CHECK(napi_create_int32(env, NUMBERS[i].number, &number));
    CHECK(napi_set_named_property(env, exports, NUMBERS[i].name, number));
  }
  return exports;
}
