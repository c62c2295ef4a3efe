// Real packets between network namespaces from one process: echo servers and probes whose sockets were opened inside.
// A probe asks "does this connection come about": TCP connects and gets a byte back, UDP gets its datagram back, ping gets
// the reply with its number. No process is started; a probe costs a few system calls.
import { type Addr, addr, familyOf } from '../../core/net/addr.ts'
import { ERRNO, KernelError } from './kernel-error.ts'
import { inNetns } from './netns.ts'
import * as sys from './sys.ts'

/** `refused`: somebody answered no (a reset or an ICMP error). `timeout`: no answer, as of a dropped packet. */
export type ProbeResult = 'open' | 'refused' | 'timeout'

export type ProbeFrom = { readonly address?: Addr; readonly port?: number }

const IPPROTO = { ICMP: 1, ICMPV6: 58 } as const
const ANY6 = addr('::')
const BACKLOG = 1024
const REFUSALS = ['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH', 'EACCES', 'EPROTO']

/** What an errno means for a probe; EPERM is a packet of our own that the output hook dropped. */
function resultOf(error: unknown): ProbeResult {
  if (!(error instanceof KernelError)) throw error
  if (error.code === 'EPERM') return 'timeout'
  if (REFUSALS.includes(error.code)) return 'refused'
  throw error
}

let lastNumber = 0
/**
 * Tells one probe's datagrams from another's. The count is in the upper half, an ICMP identifier: connection tracking
 * knows a ping by that, and a new probe must not pass as an old, established one.
 */
const nextNumber = (): number => {
  lastNumber = (lastNumber + 1) % 0xffff
  return lastNumber * 0x10000 + 1
}

type Open = { readonly fd: number; readonly stop: () => void }

export class ProbeHost {
  readonly #netns: string
  readonly #open = new Set<Open>()

  constructor(netnsPath: string) {
    this.#netns = netnsPath
  }

  /** Ends all servers; probes under way end by themselves. */
  close(): void {
    for (const open of [...this.#open]) this.#end(open)
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #socket(family: number, type: number, protocol = 0): number {
    return inNetns(this.#netns, () => sys.socket(family, type, protocol))
  }

  #serve(fd: number, ready: () => void): void {
    this.#open.add({ fd, stop: sys.watchFd(fd, sys.READABLE, ready, true) })
  }

  #end(open: Open): void {
    if (!this.#open.delete(open)) return
    open.stop()
    sys.close(open.fd)
  }

  /** An echo server on every address of both families. */
  listenTcp(port: number): void {
    const fd = this.#bound(sys.SOCK.STREAM, port)
    sys.listen(fd, BACKLOG)
    this.#serve(fd, () => {
      for (let peer = sys.accept(fd); peer !== undefined; peer = sys.accept(fd)) this.#echo(peer)
    })
  }

  #echo(fd: number): void {
    const buffer = new Uint8Array(2048)
    const open: Open = {
      fd,
      stop: sys.watchFd(
        fd,
        sys.READABLE,
        () => {
          try {
            const length = sys.recv(fd, buffer)
            if (length === 0) this.#end(open)
            else if (length !== undefined) sys.send(fd, buffer.subarray(0, length))
          } catch (error) {
            // The client reset the connection.
            if (!(error instanceof KernelError)) throw error
            this.#end(open)
          }
        },
        true,
      ),
    }
    this.#open.add(open)
  }

  /** Sends every datagram back; the answer leaves from the address that the route back picks. */
  listenUdp(port: number): void {
    const fd = this.#bound(sys.SOCK.DGRAM, port)
    const buffer = new Uint8Array(2048)
    this.#serve(fd, () => {
      try {
        for (let got = sys.recvFrom(fd, buffer); got; got = sys.recvFrom(fd, buffer))
          sys.sendTo(fd, buffer.subarray(0, got.length), got.from)
      } catch (error) {
        // An answer that was refused or dropped.
        if (!(error instanceof KernelError)) throw error
      }
    })
  }

  #bound(type: number, port: number): number {
    const fd = this.#socket(sys.AF.INET6, type)
    try {
      sys.setOption(fd, sys.SOL.SOCKET, sys.SO.REUSEADDR, 1)
      sys.bind(fd, sys.inetAddress(ANY6, port))
      return fd
    } catch (error) {
      sys.close(fd)
      throw error
    }
  }

  /**
   * Connects and waits for one byte to come back. Between namespaces of one machine an ICMP refusal may arrive while the
   * kernel still holds the socket, and is then dropped: only the SYN repeated after a second is refused. So `ms` above 1100
   * where a rule rejects without a TCP reset.
   */
  async connectTcp(dst: Addr, port: number, ms: number, from: ProbeFrom = {}): Promise<ProbeResult> {
    const end = Date.now() + ms
    return this.#probe(sys.SOCK.STREAM, dst, from, 0, async fd => {
      // Reset instead of lingering, so that a source port is free again at once.
      sys.setOption(fd, sys.SOL.SOCKET, sys.SO.LINGER, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
      if (!sys.connect(fd, sys.inetAddress(dst, port))) {
        if (!(await sys.whenReady(fd, sys.WRITABLE, ms))) return 'timeout'
        const errno = sys.getOption(fd, sys.SOL.SOCKET, sys.SO.ERROR)
        if (errno === ERRNO.ETIMEDOUT) return 'timeout'
        if (errno !== 0) throw new KernelError('connect', errno, { object: `${dst} port ${port}` })
      }
      sys.send(fd, Uint8Array.of(33))
      if (!(await sys.whenReady(fd, sys.READABLE, Math.max(1, end - Date.now())))) return 'timeout'
      return sys.recv(fd, new Uint8Array(1)) === 1 ? 'open' : 'refused'
    })
  }

  /** Sends one datagram and waits for it to come back. */
  exchangeUdp(dst: Addr, port: number, ms: number, from: ProbeFrom = {}): Promise<ProbeResult> {
    return this.#probe(sys.SOCK.DGRAM, dst, from, 0, fd => {
      const payload = new Uint8Array(8)
      new DataView(payload.buffer).setUint32(0, nextNumber())
      sys.connect(fd, sys.inetAddress(dst, port))
      sys.send(fd, payload)
      return this.#answer(fd, ms, bytes => Buffer.compare(bytes, payload) === 0)
    })
  }

  /** Sends one echo request and waits for its reply. */
  ping(dst: Addr, ms: number, from: Pick<ProbeFrom, 'address'> = {}): Promise<ProbeResult> {
    const six = familyOf(dst) === 6
    return this.#probe(sys.SOCK.RAW, dst, from, six ? IPPROTO.ICMPV6 : IPPROTO.ICMP, fd => {
      const request = echoRequest(six, nextNumber())
      sys.connect(fd, sys.inetAddress(dst, 0))
      sys.send(fd, request)
      return this.#answer(fd, ms, bytes => {
        // IPv4 raw sockets give the IP header too.
        const icmp = six ? bytes : bytes.subarray((bytes[0]! & 15) * 4)
        return icmp[0] === (six ? 129 : 0) && Buffer.compare(icmp.subarray(4, 8), request.subarray(4, 8)) === 0
      })
    })
  }

  /** Runs a probe on a fresh socket, which is closed afterwards. */
  async #probe(
    type: number,
    dst: Addr,
    from: ProbeFrom,
    protocol: number,
    run: (fd: number) => Promise<ProbeResult>,
  ): Promise<ProbeResult> {
    const six = familyOf(dst) === 6
    const fd = this.#socket(six ? sys.AF.INET6 : sys.AF.INET, type, protocol)
    try {
      if (from.address !== undefined || from.port !== undefined) {
        sys.setOption(fd, sys.SOL.SOCKET, sys.SO.REUSEADDR, 1)
        sys.bind(fd, sys.inetAddress(from.address ?? addr(six ? '::' : '0.0.0.0'), from.port ?? 0))
      }
      return await run(fd)
    } catch (error) {
      return resultOf(error)
    } finally {
      sys.close(fd)
    }
  }

  async #answer(fd: number, ms: number, matches: (bytes: Uint8Array) => boolean): Promise<ProbeResult> {
    const end = Date.now() + ms
    const buffer = new Uint8Array(2048)
    for (let left = ms; left > 0; left = end - Date.now()) {
      if (!(await sys.whenReady(fd, sys.READABLE, left))) return 'timeout'
      for (let length = sys.recv(fd, buffer); length !== undefined; length = sys.recv(fd, buffer))
        if (matches(buffer.subarray(0, length))) return 'open'
    }
    return 'timeout'
  }
}

function echoRequest(six: boolean, number: number): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  bytes[0] = six ? 128 : 8
  view.setUint32(4, number) // identifier and sequence number
  if (six) return bytes // the kernel fills in the checksum
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) sum += view.getUint16(i)
  sum = (sum & 0xffff) + (sum >>> 16)
  view.setUint16(2, ~sum & 0xffff)
  return bytes
}
