// What makes an API server a cluster: the controllers and the scheduler, beside it in its namespace, and the credentials of
// everybody who is neither the API server nor its administrator, as kubeadm gives them.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Part, startPart } from '../part.ts'
import type { RunFolder } from '../run-folder.ts'
import { kubeconfig, type Leaf, makeLeaf } from './certificates.ts'
import { componentPath } from './components.ts'

const client = (name: string, user: string, groups: readonly string[] = []): Leaf => ({
  authority: 'ca',
  name,
  user,
  groups,
  usage: 'clientAuth',
})

/** A kubelet is both: a client of the API server, and what the API server asks for logs. */
const kubelet = (node: string, addresses: readonly string[]): Leaf => ({
  ...client(`kubelet-${node}`, `system:node:${node}`, ['system:nodes']),
  usage: 'clientAuth,serverAuth',
  alternatives: [`DNS:${node}`, ...addresses.map(address => `IP:${address}`), 'IP:127.0.0.1'],
})

const CONTROLLERS = ['kube-controller-manager', 'kube-scheduler', 'kube-proxy'] as const

export type Credentials = {
  /** Path of a kubeconfig: of a controller by its name, of a node's kubelet as `kubelet-NODE`. */
  readonly kubeconfig: (name: string) => string
}

/** Makes certificates and kubeconfigs in the control plane's folder. `server` is the API server as the nodes reach it. */
export async function makeCredentials(
  pki: string,
  server: string,
  nodes: readonly { readonly name: string; readonly addresses: readonly string[] }[],
): Promise<Credentials> {
  const leaves = [
    ...CONTROLLERS.map(name => client(name, `system:${name}`)),
    ...nodes.map(({ name, addresses }) => kubelet(name, addresses)),
  ]
  await Promise.all(leaves.map(leaf => makeLeaf(pki, leaf)))
  const path = (name: string): string => join(pki, `${name}.kubeconfig`)
  for (const { name } of leaves) writeFileSync(path(name), kubeconfig(server, pki, name), { mode: 0o600 })
  return { kubeconfig: path }
}

/** Starts the controllers and the scheduler; they wait for the API server by themselves. */
export function startControllers(
  folder: RunFolder,
  options: { readonly namespace: string; readonly pki: string; readonly credentials: Credentials },
): Part[] {
  const { namespace, pki, credentials } = options
  const file = (name: string): string => join(pki, name)
  const start = (name: (typeof CONTROLLERS)[number], args: readonly string[]): Part => {
    const config = credentials.kubeconfig(name)
    return startPart(folder, {
      name,
      namespace,
      command: [
        componentPath(name),
        ...['', 'authentication-', 'authorization-'].map(kind => `--${kind}kubeconfig=${config}`),
        ...['--bind-address=127.0.0.1', '--leader-elect=false'],
        ...args,
      ],
    })
  }
  return [
    start('kube-controller-manager', [
      '--use-service-account-credentials=true',
      // Addresses of pods are the agents' work.
      '--allocate-node-cidrs=false',
      `--root-ca-file=${file('ca.crt')}`,
      `--service-account-private-key-file=${file('sa.key')}`,
      ...[`--cluster-signing-cert-file=${file('ca.crt')}`, `--cluster-signing-key-file=${file('ca.key')}`],
      // Else it makes a folder on the machine.
      `--flex-volume-plugin-dir=${file('volume-plugins')}`,
      // A lab is small, and somebody waits for it.
      ...['--kube-api-qps=200', '--kube-api-burst=400', '--node-monitor-period=2s'],
    ]),
    start('kube-scheduler', []),
  ]
}
