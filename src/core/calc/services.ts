// The endpoints of services, from their EndpointSlices: every address in a slice counts, whatever its conditions say, as in
// Calico. A destination means addresses and ports: for each (protocol, number) the addresses that have it. A source
// means addresses alone.
import { type Addr, parseAddr } from '../net/addr.ts'
import { protocolNumber } from '../net/protocol.ts'
import type { ResourceKey } from '../resources/cause.ts'
import { SERVICE_NAME_LABEL } from '../resources/kinds/service.ts'
import type { EndpointSlice } from '../resources/resource.ts'
import type { SetId } from './intent.ts'
import { addTo, removeFrom } from './items.ts'

/** What one slice puts into the sets of its service. */
export type SliceMembers = {
  /** `namespace/name`. */
  readonly service: string
  readonly addresses: readonly Addr[]
  /** `protocol/number`, as `6/80`; all of them of every address. */
  readonly pairs: readonly string[]
}

/** `undefined` for a slice of no service. A port without a number is none; a name instead of an address neither. */
export function sliceMembers({ metadata, endpoints, ports }: EndpointSlice): SliceMembers | undefined {
  const name = metadata.labels?.[SERVICE_NAME_LABEL]
  if (!name) return undefined
  const pairs = (ports ?? []).flatMap(({ port, protocol = 'TCP' }) =>
    port === undefined ? [] : `${protocolNumber(protocol)}/${port}`,
  )
  return {
    service: `${metadata.namespace}/${name}`,
    addresses: endpoints.flatMap(({ addresses }) => addresses.flatMap(text => parseAddr(text) ?? [])),
    pairs: [...new Set(pairs)],
  }
}

/** `e:` the endpoints of a service; with a pair those that serve on it. */
export const serviceSetId = (service: string, pair?: string): SetId =>
  `e:${service}${pair === undefined ? '' : `:${pair}`}` as SetId

export const serviceTitle = (service: string, pair?: string): string =>
  `endpoints of service ${service}${pair === undefined ? '' : ` on ${pair}`}`

/** All slices, by service. */
export class SliceIndex {
  readonly #slices = new Map<ResourceKey, SliceMembers>()
  readonly #byService = new Map<string, Set<SliceMembers>>()

  /** Puts a slice in the place of what was under its key, which is returned. */
  set(key: ResourceKey, slice: SliceMembers | undefined): SliceMembers | undefined {
    const old = this.#slices.get(key)
    if (old) removeFrom(this.#byService, old.service, old)
    if (slice) {
      this.#slices.set(key, slice)
      addTo(this.#byService, slice.service, slice)
    } else this.#slices.delete(key)
    return old
  }

  get(key: ResourceKey): SliceMembers | undefined {
    return this.#slices.get(key)
  }

  of(service: string): Iterable<SliceMembers> {
    return this.#byService.get(service) ?? []
  }

  /** The pairs of a service, in order, also of slices without addresses: those may get some at any time. */
  pairs(service: string): string[] {
    return [...new Set([...this.of(service)].flatMap(slice => slice.pairs))].sort()
  }

  /** With a pair: of the slices that have it. */
  *addresses(service: string, pair?: string): Iterable<Addr> {
    for (const slice of this.of(service)) if (pair === undefined || slice.pairs.includes(pair)) yield* slice.addresses
  }
}
