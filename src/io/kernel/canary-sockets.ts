// The canary's packets: datagrams from one namespace to ports in another, and what became of them. First go those that must
// not arrive, then the one that must, by the same way: when it has arrived, they would have as well.
import { setTimeout as sleep } from 'node:timers/promises'
import { canaryAddress } from '../../core/calc/canary.ts'
import type { Family } from '../../core/net/addr.ts'
import type { CanaryPort, CanarySeen } from '../../core/node/canary.ts'
import { KernelError } from './kernel-error.ts'
import { inNetns } from './netns.ts'
import * as sys from './sys.ts'

/** One datagram may be lost on a busy node. */
const TRIES = 4
/** What took another queue than the one that must arrive gets so much more time. */
const GRACE_MS = 20

export type CanarySocketsOptions = {
  /** Paths of the namespaces. */
  readonly receiver: string
  readonly sender: string
  readonly families: readonly Family[]
  readonly ports: Readonly<Record<CanaryPort, number>>
}

const AF: Readonly<Record<Family, number>> = { 4: sys.AF.INET, 6: sys.AF.INET6 }

export class CanarySockets {
  readonly #options: CanarySocketsOptions
  readonly #ends: (() => void)[] = []
  /** What arrived since the last round, by family; what comes late is told by the next. */
  readonly #arrived: Readonly<Record<Family, Set<CanaryPort>>> = { 4: new Set(), 6: new Set() }
  #round = 0

  constructor(options: CanarySocketsOptions) {
    this.#options = options
    try {
      for (const family of options.families) {
        for (const [name, port] of Object.entries(options.ports)) this.#listen(family, name as CanaryPort, port)
      }
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** One round in a family; `ms` is what the allowed packet and its answer have. */
  async send(family: Family, ms: number): Promise<CanarySeen> {
    const { ports } = this.#options
    const payload = new Uint8Array(new BigUint64Array([BigInt(++this.#round)]).buffer)
    const to = canaryAddress('receiver', family)
    let fd: number | undefined
    let answered = false
    let error: string | undefined
    try {
      // A port of its own for each round: what connection tracking remembers of the last would pass unjudged.
      fd = this.#socket('sender', family, 0)
      for (const port of [ports.deniedEgress, ports.deniedIngress]) sys.sendTo(fd, payload, sys.inetAddress(to, port))
      for (let tries = 0; tries < TRIES && !answered; tries++) {
        sys.sendTo(fd, payload, sys.inetAddress(to, ports.allowed))
        answered = await isAnswered(fd, payload, ms / TRIES)
      }
      await sleep(GRACE_MS)
    } catch (caught) {
      if (!(caught instanceof KernelError)) throw caught
      error = caught.message
    } finally {
      if (fd !== undefined) sys.close(fd)
    }
    const arrived = [...this.#arrived[family]]
    this.#arrived[family].clear()
    return { family, arrived, answered, ...(error !== undefined && { error }) }
  }

  close(): void {
    for (const end of this.#ends.splice(0)) end()
  }

  #socket(part: 'receiver' | 'sender', family: Family, port: number): number {
    const fd = inNetns(this.#options[part], () => sys.socket(AF[family], sys.SOCK.DGRAM, 0))
    try {
      sys.bind(fd, sys.inetAddress(canaryAddress(part, family), port))
      return fd
    } catch (error) {
      sys.close(fd)
      throw error
    }
  }

  #listen(family: Family, name: CanaryPort, port: number): void {
    const fd = this.#socket('receiver', family, port)
    const buffer = new Uint8Array(64)
    const take = (): void => {
      try {
        for (let got = sys.recvFrom(fd, buffer); got; got = sys.recvFrom(fd, buffer)) {
          this.#arrived[family].add(name)
          sys.sendTo(fd, buffer.subarray(0, got.length), got.from)
        }
      } catch (error) {
        // An answer that finds no way.
        if (!(error instanceof KernelError)) throw error
      }
    }
    const stop = sys.watchFd(fd, sys.READABLE, take, true)
    this.#ends.push(() => {
      stop()
      sys.close(fd)
    })
  }
}

async function isAnswered(fd: number, payload: Uint8Array, ms: number): Promise<boolean> {
  const end = performance.now() + ms
  const buffer = new Uint8Array(64)
  for (let left = ms; left > 0; left = end - performance.now()) {
    if (!(await sys.whenReady(fd, sys.READABLE, left))) return false
    for (let got = sys.recv(fd, buffer); got !== undefined; got = sys.recv(fd, buffer))
      if (Buffer.compare(buffer.subarray(0, got), payload) === 0) return true
  }
  return false
}
