// ADD: addresses; then the link, and beside it annotations and policy. Whatever fails, everything before it is undone. Repeated for
// the same container it finds what is there and gives the same answer.
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { HOST_MAC } from '../../core/base/register.ts'
import { CNI_ERROR, CniError } from '../../core/cni/error.ts'
import { handleOf } from '../../core/cni/handle.ts'
import type { AddRequest } from '../../core/cni/request.ts'
import { appendResult, type CniResult } from '../../core/cni/result.ts'
import { type Addr, familyOf } from '../../core/net/addr.ts'
import { hostPrefix } from '../../core/net/prefix.ts'
import type { ResourceKey } from '../../core/resources/cause.ts'
import { checkPod } from '../../io/cni/check-pod.ts'
import {
  type ConnectedPod,
  connectPod,
  disconnectPod,
  GATEWAYS,
  hasIpv6,
  ownerOf,
  type PodWiring,
  readPodLink,
  routesOf,
} from '../../io/cni/pod-network.ts'
import type { AddressSource } from './cni-addresses.ts'
import { ahead, type CniDeps, requireReady, step, type Workload } from './cni-deps.ts'

type Undo = { readonly what: string; readonly run: () => unknown }

/** Gives the result. What `findWorkload` finds counts once the datastore is known to be ready. */
export async function add(
  deps: CniDeps,
  request: AddRequest,
  { findWorkload, source }: { readonly findWorkload: () => Promise<Workload>; readonly source: AddressSource },
): Promise<CniResult> {
  const [found, give] = [ahead(findWorkload()), source.begin()]
  await requireReady(deps)
  const workload = await found
  const undo: Undo[] = []
  try {
    undo.push({ what: 'the allocation of addresses', run: source.release })
    const { withoutIpam, addresses: own } = workload.wishes
    const addresses = withoutIpam
      ? own
      : await step(`cannot allocate addresses for ${workload.title}`, () => give(workload))
    return await build(deps, request, { workload, addresses, undo })
  } catch (error) {
    for (const { what, run } of undo.reverse()) {
      try {
        await run()
      } catch (err) {
        deps.log.error({ err, workload: workload.title }, `after a failed ADD ${what} could not be undone: DEL will`)
      }
    }
    throw error
  }
}

async function build(
  deps: CniDeps,
  { config, attachment, prevResult }: AddRequest,
  { workload, addresses, undo }: { workload: Workload; addresses: readonly Addr[]; undo: Undo[] },
): Promise<CniResult> {
  const handle = handleOf(config.name, attachment.containerId)
  if (addresses.some(address => familyOf(address) === 6) && !hasIpv6(deps)) {
    throw new CniError(
      CNI_ERROR.INVALID_CONFIG,
      `${workload.title} asks for IPv6, which this node's kernel does not have`,
    )
  }
  const wiring: PodWiring = {
    netns: attachment.netns,
    interface: attachment.ifName,
    hostInterface: workload.hostInterface,
    owner: handle,
    addresses,
    routes: config.routes,
    mtu: config.mtu ?? deps.mtu?.(),
    queues: config.queues,
    mac: workload.wishes.mac,
    spoofs: workload.wishes.spoofs,
    allowForwarding: config.allowForwarding,
  }
  undo.push({ what: 'the interface', run: () => disconnectOwn(deps, wiring) })
  undo.push({ what: 'the writing of annotations', run: () => workload.withdraw() })
  // While the link is made the cluster hears of it, and the policy's way into the kernel has begun.
  const published = ahead(workload.publish(addresses))
  const ends = await step(`cannot connect ${workload.title}`, () => connect(deps, wiring)).finally(() =>
    // What is still on its way could not be undone.
    published.catch(() => {}),
  )
  const endpoint = await published
  if (endpoint !== undefined) {
    await step(`no policy for ${workload.title}`, () =>
      waitForPolicy(deps, { endpoint, addresses, limit: config.policyTimeoutSeconds }),
    )
  }
  const own = resultOf(wiring, ends)
  const withDns = { ...own, dns: config.dns }
  return prevResult === undefined ? withDns : appendResult(prevResult, withDns)
}

/** Only what this ADD made: it may have failed before it took an older container's link away. */
async function disconnectOwn(deps: CniDeps, { hostInterface, owner }: PodWiring): Promise<void> {
  const found = ownerOf(hostInterface, deps)
  if (found === owner || found === '') await disconnectPod(hostInterface, deps)
}

/** A link that is just as wanted stays: its container may be running. */
async function connect(deps: CniDeps, wiring: PodWiring): Promise<ConnectedPod> {
  if (!existsSync(wiring.netns)) {
    throw new CniError(CNI_ERROR.UNKNOWN_CONTAINER, `there is no network namespace ${wiring.netns}`)
  }
  const faults = checkPod(wiring, deps)
  return (faults.length === 0 ? readPodLink(wiring) : undefined) ?? (await connectPod(wiring, deps))
}

type Awaited = { readonly endpoint: ResourceKey; readonly addresses: readonly Addr[]; readonly limit: number }

/**
 * Until the kernel has the endpoint's policy. With a limit of its own in the configuration ADD goes on after it, as
 * Calico does: the interface drops everything until then, so nothing is open meanwhile.
 */
async function waitForPolicy(deps: CniDeps, { endpoint, addresses, limit }: Awaited): Promise<void> {
  const programmed = deps.waitProgrammed(endpoint, addresses)
  if (limit === 0) return programmed
  const timer = new AbortController()
  const late = sleep(limit * 1000, `not within ${limit} s`, { signal: timer.signal }).catch(() => undefined)
  const outcome = programmed.then(
    () => undefined,
    (error: Error) => error.message,
  )
  const failure = await Promise.race([outcome, late])
  timer.abort()
  if (failure !== undefined)
    deps.log.warn({ endpoint, failure }, 'policy is not in the kernel yet: ADD goes on without')
}

function resultOf(wiring: PodWiring, { mac, mtu }: ConnectedPod): CniResult {
  return {
    interfaces: [
      { name: wiring.hostInterface, mac: HOST_MAC, mtu },
      { name: wiring.interface, mac, mtu, sandbox: wiring.netns },
    ],
    ips: wiring.addresses.map(address => ({
      address: hostPrefix(address),
      gateway: GATEWAYS[familyOf(address)],
      interface: 1,
    })),
    routes: wiring.addresses.flatMap(address =>
      routesOf(wiring, address).map(dst => ({ dst, gw: GATEWAYS[familyOf(address)] })),
    ),
    dns: {},
  }
}
