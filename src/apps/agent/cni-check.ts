// CHECK: what ADD answered, IPAM and the kernel must agree. Nothing is mended.
import { CNI_ERROR, CniError } from '../../core/cni/error.ts'
import { handleOf } from '../../core/cni/handle.ts'
import { namesOwnAddresses } from '../../core/cni/pod-wishes.ts'
import type { AddRequest } from '../../core/cni/request.ts'
import { addressesOn } from '../../core/cni/result.ts'
import { checkPod } from '../../io/cni/check-pod.ts'
import type { AddressSource } from './cni-addresses.ts'
import { containerInterface } from './cni-container.ts'
import { type CniDeps, requireReady, step } from './cni-deps.ts'
import { findPod, podInterface } from './cni-pod.ts'

export async function check(deps: CniDeps, request: AddRequest, source: AddressSource): Promise<void> {
  const { config, attachment, prevResult } = request
  const { containerId, netns, ifName, args } = attachment
  if (prevResult === undefined)
    throw new CniError(CNI_ERROR.INVALID_CONFIG, 'CHECK needs prevResult in the configuration')
  await requireReady(deps)
  const handle = handleOf(config.name, containerId)
  const told = addressesOn(prevResult, { name: ifName, sandbox: netns })
  const faults = [
    ...((await isWithoutIpam(deps, request)) ? [] : await source.faults(told)),
    ...checkPod(
      {
        netns,
        interface: ifName,
        hostInterface: args.pod ? podInterface(deps, args.pod) : containerInterface(deps, containerId),
        owner: handle,
        addresses: told,
        routes: config.routes,
        mac: prevResult.interfaces.find(({ name, sandbox }) => name === ifName && sandbox === netns)?.mac,
      },
      deps,
    ),
  ]
  if (faults.length > 0) throw new CniError(CNI_ERROR.CHECK_FAILED, faults[0]!, faults.slice(1).join('; '))
}

/** Whether the pod has named addresses of its own, which nobody has given. */
async function isWithoutIpam(deps: CniDeps, { config, attachment }: AddRequest): Promise<boolean> {
  const { pod } = attachment.args
  if (!config.allowsNoIpam || pod === undefined) return false
  const found = await step(`cannot read pod ${pod.namespace}/${pod.name}`, () => findPod(deps, pod))
  return namesOwnAddresses(found?.metadata.annotations)
}
