// System calls as typed functions over the addon, the only file that loads it. Every function either returns or throws a
// KernelError; the non-blocking ones return `undefined` where the kernel says "not now". Sockets are non-blocking and
// close-on-exec throughout. Host byte order is little-endian on both machines we run on (x86-64, arm64).
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Addr, familyOf, fromBytes, toBytes } from '../../core/net/addr.ts'
import { ERRNO, KernelError } from './kernel-error.ts'

type Word = number | bigint | Uint8Array | Uint32Array | BigUint64Array | null
type Handle = { readonly __handle: true }
type Addon = {
  readonly syscall: (nr: number, ...args: Word[]) => number
  readonly addr: (bytes: Uint8Array) => bigint
  readonly poll: (fd: number, events: number, ready: (status: number, events: number) => void) => Handle
  readonly pollOp: (handle: Handle, op: number) => void
} & Readonly<Record<`SYS_${string}`, number>>

/** build/gingham.node of the nearest directory upwards, so that sources and a bundle find the same file. */
function loadAddon(): Addon {
  for (let dir = dirname(fileURLToPath(import.meta.url)); ; dir = dirname(dir)) {
    const path = join(dir, 'build', 'gingham.node')
    if (existsSync(path)) return createRequire(import.meta.url)(path) as Addon
    if (dir === dirname(dir))
      throw new Error('the kernel addon is not built: run src/io/kernel/native/build.mjs with node')
  }
}

const sys = loadAddon()

export const AF = { INET: 2, INET6: 10, NETLINK: 16, PACKET: 17 } as const
export const SOCK = { STREAM: 1, DGRAM: 2, RAW: 3, NONBLOCK: 0o4000, CLOEXEC: 0o2000000 } as const
export const SOL = { SOCKET: 1, TCP: 6, NETLINK: 270 } as const
export const SO = {
  REUSEADDR: 2,
  ERROR: 4,
  BROADCAST: 6,
  SNDBUF: 7,
  RCVBUF: 8,
  LINGER: 13,
  SNDBUFFORCE: 32,
  RCVBUFFORCE: 33,
} as const
export const MSG = { PEEK: 2, TRUNC: 0x20, DONTWAIT: 0x40, NOSIGNAL: 0x4000 } as const
const O_CLOEXEC = 0o2000000
const AT_FDCWD = -100
const CLONE_NEWNET = 0x40000000

/** A call's number, or the error; EINTR is retried. */
function call(op: string, object: string, nr: number, ...args: Word[]): number {
  for (;;) {
    const rc = sys.syscall(nr, ...args)
    if (rc >= 0) return rc
    if (-rc !== ERRNO.EINTR) throw new KernelError(op, rc, { object })
  }
}

/** The same for calls that may say "not now". */
function tryCall(op: string, nr: number, ...args: Word[]): number | undefined {
  for (;;) {
    const rc = sys.syscall(nr, ...args)
    if (rc >= 0) return rc
    if (-rc === ERRNO.EAGAIN || -rc === ERRNO.EINPROGRESS) return undefined
    if (-rc !== ERRNO.EINTR) throw new KernelError(op, rc)
  }
}

const cString = (text: string): Uint8Array => Buffer.from(`${text}\0`)

export const socket = (family: number, type: number, protocol: number): number =>
  call(
    'socket',
    `${family}/${type}/${protocol}`,
    sys.SYS_socket!,
    family,
    type | SOCK.NONBLOCK | SOCK.CLOEXEC,
    protocol,
  )

export const bind = (fd: number, address: Uint8Array): void =>
  void call('bind', describe(address), sys.SYS_bind!, fd, address, address.length)

/** False when the connection is under way: wait for writable, then read `SO_ERROR`. */
export const connect = (fd: number, address: Uint8Array): boolean =>
  tryCall('connect', sys.SYS_connect!, fd, address, address.length) !== undefined

export const listen = (fd: number, backlog: number): void => void call('listen', '', sys.SYS_listen!, fd, backlog)

export function accept(fd: number): number | undefined {
  return tryCall('accept', sys.SYS_accept4!, fd, null, null, SOCK.NONBLOCK | SOCK.CLOEXEC)
}

/** Bytes taken by the kernel; `undefined` when its buffer is full. */
export const send = (fd: number, bytes: Uint8Array): number | undefined =>
  tryCall('send', sys.SYS_sendto!, fd, bytes, bytes.length, MSG.NOSIGNAL, null, 0)

export const sendTo = (fd: number, bytes: Uint8Array, address: Uint8Array): number | undefined =>
  tryCall('send', sys.SYS_sendto!, fd, bytes, bytes.length, MSG.NOSIGNAL, address, address.length)

/**
 * The length received into `into`; 0 is the end of a stream; `undefined` when nothing is there. For datagrams with
 * `MSG.TRUNC` the length is the real one, which may be more than `into` holds.
 */
export const recv = (fd: number, into: Uint8Array, flags = 0): number | undefined =>
  tryCall('receive', sys.SYS_recvfrom!, fd, into, into.length, flags, null, null)

export type Received = { readonly length: number; readonly from: Uint8Array }

export function recvFrom(fd: number, into: Uint8Array, flags = 0): Received | undefined {
  const from = new Uint8Array(128)
  const size = Uint32Array.of(from.length)
  const length = tryCall('receive', sys.SYS_recvfrom!, fd, into, into.length, flags, from, size)
  return length === undefined ? undefined : { length, from: from.subarray(0, size[0]) }
}

/** Where the bytes are, for structures that hold pointers; valid while the array is referenced. */
export const addressOf = (bytes: Uint8Array): bigint => sys.addr(bytes)

/** Sends several datagrams in one call: `headers` holds `count` structs mmsghdr. How many were taken. */
export const sendMessages = (fd: number, headers: BigUint64Array, count: number): number | undefined =>
  tryCall('send', sys.SYS_sendmmsg!, fd, headers, count, MSG.NOSIGNAL)

/** Receives up to `count` datagrams into the buffers of `headers`, whose lengths the kernel writes. */
export const receiveMessages = (fd: number, headers: BigUint64Array, count: number): number | undefined =>
  tryCall('receive', sys.SYS_recvmmsg!, fd, headers, count, MSG.DONTWAIT, null)

/** Binds the calling thread to one processor (of the first 64). */
export const pinThread = (cpu: number): void =>
  void call('sched_setaffinity', String(cpu), sys.SYS_sched_setaffinity!, 0, 8, BigUint64Array.of(1n << BigInt(cpu)))

export function setOption(fd: number, level: number, option: number, value: number | Uint8Array): void {
  const bytes = typeof value === 'number' ? new Uint8Array(Int32Array.of(value).buffer) : value
  call('setsockopt', `${level}/${option}`, sys.SYS_setsockopt!, fd, level, option, bytes, bytes.length)
}

export function getOption(fd: number, level: number, option: number): number {
  const value = new Uint8Array(4)
  call('getsockopt', `${level}/${option}`, sys.SYS_getsockopt!, fd, level, option, value, Uint32Array.of(4))
  return new DataView(value.buffer).getInt32(0, true)
}

/** `how`: 0 no more reads, 1 no more writes, 2 neither. */
export const shutdown = (fd: number, how: 0 | 1 | 2): void => void call('shutdown', '', sys.SYS_shutdown!, fd, how)

export const open = (path: string, flags = 0): number =>
  call('open', path, sys.SYS_openat!, AT_FDCWD, cString(path), flags | O_CLOEXEC, 0)

export const close = (fd: number): void => void call('close', String(fd), sys.SYS_close!, fd)

/** Moves the calling thread into the network namespace behind a descriptor. */
export const setNetns = (fd: number, path: string): void => void call('setns', path, sys.SYS_setns!, fd, CLONE_NEWNET)

/** Moves the calling thread into a network namespace that is made for it. */
export const unshareNetns = (): void => void call('unshare', 'network', sys.SYS_unshare!, CLONE_NEWNET)

export const READABLE = 1
export const WRITABLE = 2

/**
 * Runs `ready` whenever the descriptor is readable or writable, until the returned function is called (before the
 * descriptor is closed; again does nothing). One watch per descriptor. With `idle`, it does not keep the process alive.
 */
export function watchFd(fd: number, events: number, ready: () => void, idle = false): () => void {
  let stop = (): void => {}
  const start = (): void => {
    const handle = sys.poll(fd, events, status => {
      // libuv watches no more after an error of a socket, such as lost messages of netlink. Reading takes the error away.
      if (status < 0) {
        stop()
        start()
      }
      ready()
    })
    if (idle) sys.pollOp(handle, 2)
    stop = () => sys.pollOp(handle, 0)
  }
  start()
  return () => stop()
}

/** True once the descriptor is ready, false after `ms`. */
export function whenReady(fd: number, events: number, ms: number): Promise<boolean> {
  return new Promise(resolve => {
    const end = (ready: boolean) => {
      clearTimeout(timer)
      stop()
      resolve(ready)
    }
    const stop = watchFd(fd, events, () => end(true))
    const timer = setTimeout(end, ms, false)
  })
}

/** A sockaddr_in or sockaddr_in6; `scope` is the interface index for a link-local address. */
export function inetAddress(address: Addr, port: number, scope = 0): Uint8Array {
  const six = familyOf(address) === 6
  const bytes = new Uint8Array(six ? 28 : 16)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, six ? AF.INET6 : AF.INET, true)
  view.setUint16(2, port)
  bytes.set(toBytes(address), six ? 8 : 4)
  if (six) view.setUint32(24, scope, true)
  return bytes
}

/** The inverse of `inetAddress`; `undefined` for another family. */
export function parseInetAddress(bytes: Uint8Array): { address: Addr; port: number } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const family = bytes.length < 2 ? 0 : view.getUint16(0, true)
  if (family === AF.INET && bytes.length >= 8) return { address: fromBytes(bytes.slice(4, 8)), port: view.getUint16(2) }
  if (family === AF.INET6 && bytes.length >= 24)
    return { address: fromBytes(bytes.slice(8, 24)), port: view.getUint16(2) }
  return undefined
}

function describe(sockaddr: Uint8Array): string {
  const inet = parseInetAddress(sockaddr)
  return inet === undefined ? '' : `${inet.address} port ${inet.port}`
}
