// What serving the CNI plugin needs, and the words in which its parts agree: a workload is whatever gets an interface.

import { CNI_ERROR, CniError, type CniErrorCode } from '../../core/cni/error.ts'
import type { PodWishes } from '../../core/cni/pod-wishes.ts'
import { IpamError } from '../../core/ipam/plan.ts'
import type { Addr } from '../../core/net/addr.ts'
import type { ResourceKey } from '../../core/resources/cause.ts'
import type { Pod } from '../../core/resources/resource.ts'
import type { Labels } from '../../core/selector/match.ts'
import type { Ipam } from '../../io/ipam/ipam.ts'
import type { Logger } from '../../io/log.ts'
import type { ResourceClient } from '../../io/store/resource-client.ts'
import { ResourceError } from '../../io/store/resource-error.ts'
import { StoreError } from '../../io/store/store.ts'

export type PodName = { readonly namespace: string; readonly name: string }

export type CniDeps = {
  readonly node: string
  readonly resources: ResourceClient
  readonly ipam: Ipam
  /** Resolves when the kernel acknowledged the endpoint's policy with these addresses; rejects when that takes too long. */
  readonly waitProgrammed: (endpoint: ResourceKey, addresses: readonly Addr[]) => Promise<void>
  /** The pod as the agent follows it, which may be some milliseconds old, or not there yet. */
  readonly knownPod?: (pod: PodName) => Pod | undefined
  readonly log: Logger
  readonly now: () => Date
  /** Of host ends, `cali` unless FelixConfiguration says otherwise. */
  readonly interfacePrefix?: string
  /** MTU of pods whose network configuration names none. */
  readonly mtu?: () => number | undefined
  /** The namespace that plays the host; the process's own without. */
  readonly hostNetns?: string
}

/** Something that gets an interface: a Kubernetes pod, or a container that CNI alone knows. */
export type Workload = {
  /** As logs and errors name it. */
  readonly title: string
  readonly hostInterface: string
  readonly wishes: PodWishes
  /** For IPAM: who holds the addresses. */
  readonly attributes: Readonly<Record<string, string>>
  /** What pools' namespaceSelectors look at. */
  readonly namespaceLabels: Labels
  /** Tells the cluster its addresses. Gives the endpoint to wait for; undefined if none can be waited for. */
  readonly publish: (addresses: readonly Addr[]) => Promise<ResourceKey | undefined>
  /** Takes that back. */
  readonly withdraw: () => Promise<void>
}

export const isNotFound = (error: unknown): boolean => error instanceof ResourceError && error.code === 'not-found'

const codeOf = (error: unknown): CniErrorCode =>
  error instanceof StoreError && error.code === 'unavailable' ? CNI_ERROR.TRY_AGAIN : CNI_ERROR.INTERNAL

/** Any failure as one that CNI can print; `what` says which step it was. */
export function stepError(what: string, error: unknown): CniError {
  if (error instanceof CniError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new CniError(codeOf(error), `${what}: ${message}`, error instanceof IpamError ? `IPAM: ${error.code}` : '')
}

/** Runs one step; its failure says which it was. */
export async function step<T>(what: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw stepError(what, error)
  }
}

/** Work that others need not wait for: how it ends is told to whoever awaits it, and to nobody if nobody does. */
export function ahead<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {})
  return work
}

/** Throws while the datastore is locked (a migration) or cannot be asked. */
export async function requireReady({ resources }: Pick<CniDeps, 'resources'>): Promise<void> {
  const information = await step('cannot read the ClusterInformation', async () => {
    try {
      return await resources.get('ClusterInformation', { name: 'default' })
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  })
  if (information?.spec.datastoreReady === true) return
  const details = information === undefined ? 'there is no ClusterInformation yet' : 'datastoreReady is not true'
  throw new CniError(CNI_ERROR.TRY_AGAIN, 'Calico is currently not ready to process requests', details)
}
