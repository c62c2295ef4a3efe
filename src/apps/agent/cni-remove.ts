// DEL and GC: the host's end, the annotations, the connections of its addresses, the addresses, each if it is the
// container's. What is missing is fine, and one failure does not keep the other steps from being tried; the last one is
// what the runtime hears, which then calls again.
import { CNI_ERROR, CniError } from '../../core/cni/error.ts'
import { containerOf, handleOf } from '../../core/cni/handle.ts'
import { CONTAINER_ID } from '../../core/cni/pod-wishes.ts'
import type { NetworkRequest } from '../../core/cni/request.ts'
import type { Addr } from '../../core/net/addr.ts'
import { disconnectPod, isUnfinished, ownedInterfaces, ownerOf } from '../../io/cni/pod-network.ts'
import { flushAddresses } from '../../io/kernel/conntrack.ts'
import { type AddressSource, poolSource } from './cni-addresses.ts'
import { containerInterface, withdrawContainer } from './cni-container.ts'
import { type CniDeps, type PodName, requireReady, step, stepError } from './cni-deps.ts'
import { findPod, podInterface, withdrawPod } from './cni-pod.ts'

export type Gone = {
  readonly network: string
  readonly containerId: string
  readonly pod: PodName | undefined
  /** The addresses that ADD told, as far as the runtime says them again: not all of them are somebody's to be asked for. */
  readonly told?: readonly Addr[]
}

export async function remove(deps: CniDeps, gone: Gone, source: AddressSource): Promise<void> {
  const { network, containerId, pod, told = [] } = gone
  const handle = handleOf(network, containerId)
  const failures: CniError[] = []
  const attempt = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      const failure = stepError(what, error)
      deps.log.warn({ err: failure, containerId }, 'a step of DEL failed')
      failures.push(failure)
    }
  }
  // Without the datastore the link can go all the same.
  await attempt('cannot remove the interface', () => removeInterface(deps, gone))
  await requireReady(deps)
  await attempt('cannot withdraw the endpoint', () =>
    pod === undefined ? withdrawContainer(deps, containerId) : withdrawPod(deps, pod, containerId),
  )
  // Before anybody else can be given them: what the kernel remembers as allowed was allowed to this container.
  await attempt(`cannot forget the connections of ${handle}`, async () => {
    await flushAddresses([...new Set([...told, ...(await source.held())])], deps.hostNetns)
  })
  await attempt(`cannot release the addresses of ${handle}`, source.release)
  const last = failures.at(-1)
  if (last !== undefined) throw last
}

/** The alias of a host's end says whose it is: a new container of the same pod has taken the name over long ago. */
async function removeInterface(deps: CniDeps, { network, containerId, pod }: Gone): Promise<void> {
  const handle = handleOf(network, containerId)
  if (pod === undefined) {
    for (const [name, owner] of ownedInterfaces(deps)) if (owner === handle) await disconnectPod(name, deps)
    const own = containerInterface(deps, containerId)
    if (isUnfinished(own, deps)) await disconnectPod(own, deps)
    return
  }
  const name = podInterface(deps, pod)
  const owner = ownerOf(name, deps)
  if (owner === undefined) return
  const isOwn =
    owner === handle || (owner === '' && (isUnfinished(name, deps) || (await isOurs(deps, pod, containerId))))
  if (isOwn) await disconnectPod(name, deps)
}

/** For host ends without an alias, which Calico made: the pod's annotation decides, or the pod's absence. */
async function isOurs(deps: CniDeps, name: PodName, containerId: string): Promise<boolean> {
  const pod = await findPod(deps, name)
  return pod === undefined || pod.metadata.annotations?.[CONTAINER_ID] === containerId
}

/** Removes what this network gave to containers on this node that are not valid any more. */
export async function collectGarbage(
  deps: CniDeps,
  { config }: NetworkRequest,
  inTurn: (gone: Gone, work: () => Promise<void>) => Promise<void>,
): Promise<void> {
  await requireReady(deps)
  const valid = new Set((config.validAttachments ?? []).map(({ containerId }) => containerId))
  const stale = new Map<string, Gone>()
  const note = (handle: string, pod?: PodName): void => {
    const containerId = containerOf(config.name, handle)
    if (containerId === undefined || valid.has(containerId)) return
    if (!stale.get(containerId)?.pod) stale.set(containerId, { network: config.name, containerId, pod })
  }
  const blocks = await step('cannot read the IPAM blocks', () => deps.ipam.blocks())
  for (const { attributes } of blocks) {
    for (const { handleId, secondary } of attributes) {
      if (handleId === undefined || secondary.get('node') !== deps.node) continue
      const [namespace, name] = [secondary.get('namespace'), secondary.get('pod')]
      note(handleId, namespace && name ? { namespace, name } : undefined)
    }
  }
  for (const owner of ownedInterfaces(deps).values()) note(owner)
  const failures: string[] = []
  for (const gone of stale.values()) {
    try {
      await inTurn(gone, () => remove(deps, gone, poolSource(deps, handleOf(config.name, gone.containerId))))
      deps.log.info(gone, 'collected a container that is gone')
    } catch (error) {
      failures.push(`${gone.containerId}: ${(error as Error).message}`)
    }
  }
  if (failures.length === 0) return
  const message = `${failures.length} of ${stale.size} containers could not be collected`
  throw new CniError(CNI_ERROR.INTERNAL, message, failures.join('; '))
}
