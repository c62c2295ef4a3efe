// IPAM handles of containers: `<network>.<container>`, Calico's form, so that either finds what the other allocated.

export const handleOf = (network: string, containerId: string): string => `${network}.${containerId}`

/**
 * The container of a network's handle; undefined for handles of anything else. A remainder with a dot may belong to a
 * network whose name begins with ours, and is nobody's we may touch (runtimes' IDs are hexadecimal).
 */
export function containerOf(network: string, handle: string): string | undefined {
  if (!handle.startsWith(`${network}.`)) return undefined
  const rest = handle.slice(network.length + 1)
  return rest === '' || rest.includes('.') ? undefined : rest
}
