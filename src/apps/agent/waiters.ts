// Who waits until an endpoint's policy is in the kernel: the CNI plugin's ADD, which must not hand over a pod before.
import { EventEmitter, once } from 'node:events'
import type { Addr } from '../../core/net/addr.ts'
import { printKey, type ResourceKey } from '../../core/resources/cause.ts'

export class ProgrammedWaiters {
  readonly #events = new EventEmitter().setMaxListeners(0)
  readonly #isProgrammed: (endpoint: ResourceKey, addresses: readonly Addr[]) => boolean
  readonly #patienceMs: number

  constructor(isProgrammed: (endpoint: ResourceKey, addresses: readonly Addr[]) => boolean, patienceMs = 30_000) {
    this.#isProgrammed = isProgrammed
    this.#patienceMs = patienceMs
  }

  /** The kernel acknowledged something. */
  wake(): void {
    this.#events.emit('programmed')
  }

  /** Resolves when the endpoint is programmed with just these addresses; rejects after the time limit. */
  async wait(endpoint: ResourceKey, addresses: readonly Addr[]): Promise<void> {
    const limit = AbortSignal.timeout(this.#patienceMs)
    while (!this.#isProgrammed(endpoint, addresses)) {
      try {
        await once(this.#events, 'programmed', { signal: limit })
      } catch {
        const seconds = this.#patienceMs / 1000
        throw new Error(
          `policy for ${printKey(endpoint)} (${addresses.join(', ')}) was not in the kernel within ${seconds} s`,
        )
      }
    }
  }
}
