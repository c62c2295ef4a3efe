// The node's interfaces as facts for host endpoints that are found by their addresses. Most nodes have none of these, and
// then nothing is read or watched.
import { isDeepStrictEqual } from 'node:util'
import { difference } from '../../core/base/change.ts'
import type { InterfaceChange } from '../../core/calc/host-interfaces.ts'
import type { Addr } from '../../core/net/addr.ts'
import { ofKind, type Snapshot } from '../../core/resources/resource.ts'
import { readInterfaces, watchInterfaces } from '../../io/kernel/interfaces.ts'
import type { Logger } from '../../io/log.ts'

export class InterfaceFacts {
  readonly #node: string
  readonly #log: Logger
  readonly #onChange: (changes: readonly InterfaceChange[]) => void
  #known: ReadonlyMap<string, readonly Addr[]> = new Map()
  #stop: (() => void) | undefined

  constructor(options: { node: string; log: Logger; onChange: (changes: readonly InterfaceChange[]) => void }) {
    this.#node = options.node
    this.#log = options.log
    this.#onChange = options.onChange
  }

  /** What is to be known before these resources are enforced: all interfaces, when they are asked for the first time. */
  follow(view: Snapshot): readonly InterfaceChange[] {
    if (this.#stop) return []
    const asks = [...ofKind(view, 'HostEndpoint')].some(
      ({ spec }) => spec.node === this.#node && spec.interfaceName === undefined,
    )
    if (!asks) return []
    // Watched first, so that nothing is missed between.
    this.#stop = watchInterfaces(() => {
      const changes = this.#read()
      if (changes.length > 0) this.#onChange(changes)
    })
    return this.#read()
  }

  /** What was told so far. */
  get known(): ReadonlyMap<string, readonly Addr[]> {
    return this.#known
  }

  stop(): void {
    this.#stop?.()
  }

  #read(): readonly InterfaceChange[] {
    try {
      const found = readInterfaces()
      const changes = difference(this.#known, found, isDeepStrictEqual)
      this.#known = found
      return changes
    } catch (error) {
      this.#log.error({ err: error }, 'the interfaces cannot be read: host endpoints keep those that they have')
      return []
    }
  }
}
