// What must be there before a pod gets a network, as far as the network configuration asks for it: URLs that answer, the
// file with the node's name, the size of packets. None of it is a mistake that lasts: the runtime is to try again.
import { readFileSync } from 'node:fs'
import type { NetworkConfig } from '../../core/cni/config.ts'
import { CNI_ERROR, CniError } from '../../core/cni/error.ts'
import type { CniDeps } from './cni-deps.ts'

/** Calico's patience with each URL. */
const GATE_MS = 5000

export async function requireGates(config: NetworkConfig, { node, mtu }: Pick<CniDeps, 'node' | 'mtu'>): Promise<void> {
  if (config.nodeFile !== undefined) checkNodeFile(config.nodeFile, node)
  if (config.requiresMtu && config.mtu === undefined && mtu?.() === undefined) {
    const details = 'neither mtu in the configuration, nor the node’s own, nor the file mtu of a run before'
    throw new CniError(CNI_ERROR.TRY_AGAIN, 'the size of packets is not known yet (require_mtu_file)', details)
  }
  await Promise.all(config.gates.map(checkGate))
}

/** Its reader is whoever has no node's name in the configuration. */
function checkNodeFile({ path, optional }: NonNullable<NetworkConfig['nodeFile']>, node: string): void {
  let name: string
  try {
    name = readFileSync(path, 'utf8').trim()
  } catch (error) {
    if (optional && (error as NodeJS.ErrnoException).code === 'ENOENT') return
    const details = 'check that the agent runs and has mounted the folder (/var/lib/calico)'
    throw new CniError(CNI_ERROR.TRY_AGAIN, `nodename_file: ${(error as Error).message}`, details)
  }
  if (name === node) return
  throw new CniError(CNI_ERROR.INVALID_CONFIG, `${path} says node ${name}, this agent is node ${node}`)
}

async function checkGate(url: string): Promise<void> {
  const refuse = (why: string): never => {
    throw new CniError(CNI_ERROR.TRY_AGAIN, `the readiness gate ${url} is not open`, why)
  }
  try {
    const { ok, status, body } = await fetch(url, { signal: AbortSignal.timeout(GATE_MS) })
    await body?.cancel()
    if (!ok) refuse(`it answered ${status}`)
  } catch (error) {
    if (error instanceof CniError) throw error
    const { message, cause } = error as Error
    refuse(cause instanceof Error ? cause.message || String(cause) : message)
  }
}
