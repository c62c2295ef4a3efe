// The lab's command line: `npm start -- --once`.
import { parseArgs } from 'node:util'
import type { ProxyMode } from './kubernetes/node-files.ts'
import { DEFAULT_PREFIX, isPrefix } from './plan.ts'

export type LabOptions = {
  /** Ends after the matrix instead of staying up until Ctrl-C. */
  readonly once: boolean
  /** Sockets, logs, the datastore and the record of what to clean up. */
  readonly run: string
  /** Begins the names of the lab's network namespaces. */
  readonly prefix: string
  /** A real Kubernetes instead of the embedded datastore and pods that are nothing but namespaces. */
  readonly kubernetes: boolean
  /** How kube-proxy does its work there. */
  readonly proxy: ProxyMode
}

/** Where `bin/gingham` looks without being told. */
export const DEFAULT_RUN = '/run/gingham'

/** Of a cluster whose nodes hold images: on a disk, and not below a folder that each node has for itself. */
export const DEFAULT_KUBERNETES_RUN = '/var/lib/gingham-lab'

const PROXIES: readonly string[] = ['nftables', 'iptables'] satisfies ProxyMode[]

const HELP = `Builds a cluster of three nodes on this machine, applies an example policy and shows what it does to real packets.

Usage: npm start [-- options]
  --once         end after the matrix (exit code 1 if a packet went otherwise than expected)
  --kubernetes   with a real Kubernetes: kube-apiserver, kubelets, containerd, all of it on this machine
  --proxy MODE   of kube-proxy: nftables or iptables (default nftables)
  --run DIR      folder for sockets, logs and data (default ${DEFAULT_RUN}, or ${DEFAULT_KUBERNETES_RUN})
  --prefix NAME  begins the names of the network namespaces (default ${DEFAULT_PREFIX}); together with --run, for a second lab
  --help         this text

Example: npm start -- --once --run /run/second --prefix second
`

/** The options, or the text to print and the exit code. */
export function parseOptions(argv: readonly string[]): LabOptions | { readonly text: string; readonly code: number } {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        once: { type: 'boolean', default: false },
        kubernetes: { type: 'boolean', default: false },
        proxy: { type: 'string', default: 'nftables' },
        run: { type: 'string' },
        prefix: { type: 'string', default: DEFAULT_PREFIX },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    if (values.help) return { text: HELP, code: 0 }
    if (!isPrefix(values.prefix))
      throw new Error(`--prefix ${values.prefix}: small letters, digits and -, a letter first, at most 31`)
    const { once, prefix, kubernetes, proxy } = values
    const run = values.run ?? (kubernetes ? DEFAULT_KUBERNETES_RUN : DEFAULT_RUN)
    if (!run.startsWith('/')) throw new Error(`--run ${run}: give the path from /`)
    if (!PROXIES.includes(proxy)) throw new Error(`--proxy ${proxy}: ${PROXIES.join(' or ')}`)
    return { once, run, prefix, kubernetes, proxy: proxy as ProxyMode }
  } catch (error) {
    return { text: `${(error as Error).message}\n\n${HELP}`, code: 2 }
  }
}
