// CHECK: what ADD answered, IPAM and the kernel must agree. Nothing is mended.
import { CNI_ERROR, CniError } from '../../core/cni/error.ts'
import { handleOf } from '../../core/cni/handle.ts'
import type { AddRequest } from '../../core/cni/request.ts'
import type { CniResult } from '../../core/cni/result.ts'
import type { Addr } from '../../core/net/addr.ts'
import { parsePrefix, prefixBase } from '../../core/net/prefix.ts'
import { checkPod } from '../../io/cni/check-pod.ts'
import { readHandleAddresses } from '../../io/cni/handles.ts'
import { containerInterface } from './cni-container.ts'
import { type CniDeps, requireReady, step } from './cni-deps.ts'
import { podInterface } from './cni-pod.ts'

/** The addresses that the result has on one interface in one sandbox. */
function addressesOn(
  { interfaces, ips }: CniResult,
  where: { readonly name: string; readonly sandbox: string },
): Addr[] {
  const index = interfaces.findIndex(({ name, sandbox }) => name === where.name && sandbox === where.sandbox)
  return ips
    .filter(ip => ip.interface === index)
    .map(({ address }) => prefixBase(parsePrefix(address.replace(/\/.*/, ''))!))
}

export async function check(deps: CniDeps, request: AddRequest): Promise<void> {
  const { config, attachment, prevResult } = request
  const { containerId, netns, ifName, args } = attachment
  if (prevResult === undefined)
    throw new CniError(CNI_ERROR.INVALID_CONFIG, 'CHECK needs prevResult in the configuration')
  await requireReady(deps)
  const handle = handleOf(config.name, containerId)
  const told = addressesOn(prevResult, { name: ifName, sandbox: netns })
  const held = await step(`cannot read the addresses of ${handle}`, () =>
    readHandleAddresses(deps.resources.store, handle),
  )
  const faults = [
    ...told.filter(address => !held.includes(address)).map(address => `${address} is not allocated to ${handle}`),
    ...held.filter(address => !told.includes(address)).map(address => `prevResult lacks ${address} on ${ifName}`),
    ...checkPod(
      {
        netns,
        interface: ifName,
        hostInterface: args.pod ? podInterface(deps, args.pod) : containerInterface(deps, containerId),
        owner: handle,
        addresses: told,
        mac: prevResult.interfaces.find(({ name, sandbox }) => name === ifName && sandbox === netns)?.mac,
      },
      deps,
    ),
  ]
  if (faults.length > 0) throw new CniError(CNI_ERROR.CHECK_FAILED, faults[0]!, faults.slice(1).join('; '))
}
