// Established TCP connections between pods that go on, whatever is killed: each sends a few bytes every few milliseconds
// and gets every one of them back.
import type { WiredPod } from '../../src/apps/lab/pods.ts'
import { FAMILIES, familyOf } from '../../src/core/net/addr.ts'
import { inNetns, namedNetns } from '../../src/io/kernel/netns.ts'
import { ProbeHost } from '../../src/io/kernel/probe-sockets.ts'
import * as sys from '../../src/io/kernel/sys.ts'
import { addressOf, podName } from './hitless-traffic.ts'

const PERIOD_MS = 20
const PATIENCE_MS = 60_000
const PING = new Uint8Array(16).fill(7)

type Connection = {
  readonly name: string
  readonly fd: number
  readonly unwatch: () => void
  sent: number
  received: number
  broken: string | undefined
}

export class Connections {
  readonly #servers: ProbeHost[] = []
  readonly #connections: Connection[] = []
  #timer: NodeJS.Timeout | undefined

  /** One in each family from each first pod to each second one; rejects if one does not come about. */
  static async open(pairs: readonly (readonly [WiredPod, WiredPod])[], port: number): Promise<Connections> {
    const self = new Connections()
    for (const netns of new Set(pairs.map(([, to]) => to.netns))) {
      const server = new ProbeHost(namedNetns(netns))
      self.#servers.push(server)
      server.listenTcp(port)
    }
    for (const [from, to] of pairs) {
      for (const family of FAMILIES) await self.#connect(from, to, { family, port })
    }
    self.#timer = setInterval(() => self.#send(), PERIOD_MS)
    return self
  }

  get count(): number {
    return this.#connections.length
  }

  /** Bytes that came back so far. */
  get received(): number {
    return this.#connections.reduce((sum, c) => sum + c.received, 0)
  }

  async #connect(from: WiredPod, to: WiredPod, { family, port }: { family: 4 | 6; port: number }): Promise<void> {
    const dst = addressOf(to, family)
    const name = `${podName(from)} to ${podName(to)} IPv${familyOf(dst)}`
    const af = family === 4 ? sys.AF.INET : sys.AF.INET6
    const fd = inNetns(namedNetns(from.netns), () => sys.socket(af, sys.SOCK.STREAM, 0))
    const ready = sys.connect(fd, sys.inetAddress(dst, port)) || (await sys.whenReady(fd, sys.WRITABLE, PATIENCE_MS))
    if (!ready || sys.getOption(fd, sys.SOL.SOCKET, sys.SO.ERROR) !== 0) {
      sys.close(fd)
      throw new Error(`${name}: no connection`)
    }
    const buffer = new Uint8Array(4096)
    const connection: Connection = {
      ...{ name, fd, sent: 0, received: 0, broken: undefined },
      unwatch: sys.watchFd(fd, sys.READABLE, () => receive(connection, buffer), true),
    }
    this.#connections.push(connection)
  }

  #send(): void {
    for (const connection of this.#connections) {
      if (connection.broken !== undefined) continue
      try {
        connection.sent += sys.send(connection.fd, PING) ?? 0
      } catch (error) {
        connection.broken = (error as Error).message
      }
    }
  }

  /** Waits until everything sent by now has come back; what did not, or broke, in words. */
  async lost(): Promise<string[]> {
    const wanted = this.#connections.map(connection => ({ connection, bytes: connection.sent }))
    const end = performance.now() + PATIENCE_MS
    const missing = () => wanted.filter(({ connection, bytes }) => connection.received < bytes)
    while (performance.now() < end && missing().some(({ connection }) => connection.broken === undefined))
      await new Promise(resolve => setTimeout(resolve, PERIOD_MS))
    return [
      ...missing().map(
        ({ connection, bytes }) => `${connection.name}: ${connection.received} of ${bytes} bytes came back`,
      ),
      ...this.#connections.flatMap(({ name, broken }) => (broken === undefined ? [] : [`${name}: ${broken}`])),
    ]
  }

  close(): void {
    clearInterval(this.#timer)
    for (const { fd, unwatch } of this.#connections) {
      unwatch()
      sys.close(fd)
    }
    for (const server of this.#servers) server.close()
  }
}

function receive(connection: Connection, buffer: Uint8Array): void {
  try {
    for (;;) {
      const length = sys.recv(connection.fd, buffer)
      if (length === undefined) return
      if (length === 0) {
        connection.broken ??= 'it was closed'
        connection.unwatch()
        return
      }
      connection.received += length
    }
  } catch (error) {
    connection.broken ??= (error as Error).message
    connection.unwatch()
  }
}
