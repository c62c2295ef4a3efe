// The agent's command line. Everything has a default that fits a single host; the lab overrides them.
import { hostname } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { type NodeSettings, parseNodeSettings } from '../../core/node/settings.ts'

export type DatastoreOptions =
  /** The datastore server, by its unix socket. */
  | { readonly kind: 'embedded'; readonly socket: string }
  /** The API server that the environment names, else the one whose pod this is. */
  | { readonly kind: 'kubernetes' }

export type AgentOptions = {
  readonly node: string
  /** Run folder: sockets and BIRD's files. */
  readonly run: string
  /** Folder of the last known state; it should outlive a reboot. */
  readonly state: string
  readonly datastore: DatastoreOptions
  /** What the environment says of the node's addresses and the first pools. */
  readonly settings: NodeSettings
  /** Felix's file of parameters, if it is there. */
  readonly felixConfig: string
  /** Folder for the files `nodename` and `mtu`, with the default run folder Calico's; none off Kubernetes. */
  readonly nodeFolder: string | undefined
  /** `stderr`, or a file that is rotated. */
  readonly log: string | undefined
  readonly logLevel: string
  readonly bird: boolean
  /** Whether the kernel shall refuse edits of the policy table by others. */
  readonly ownTable: boolean
  /** Seconds between two rounds of the canary; 0: none. */
  readonly canary: number
  /** Where the CNI client looks for the agent: a link to the agent's socket. None: clients are told the socket itself. */
  readonly cniSocket: string | undefined
  /** TCP address `host:port` for health and metrics besides the unix socket; off by default. */
  readonly listen: string | undefined
}

export const DEFAULT_RUN = '/run/gingham'
const DEFAULT_FELIX_CONFIG = '/etc/calico/felix.cfg'
/** Compiled into the CNI client (src/apps/cni/client.c). */
export const DEFAULT_CNI_SOCKET = '/run/gingham/agent.sock'

const HELP = `gingham agent: the node agent (policy, routing, CNI)

Usage: agent [options]
  --node NAME          this node's name (default: $NODENAME, else the host name in lower case)
  --run DIR            run folder (default ${DEFAULT_RUN}); sockets are DIR/agents/NODE.sock
  --state DIR          where the last known state is kept, to be enforced at a start without the datastore; give a
                       folder that outlives a reboot (default: state in the run folder)
  --datastore WHERE    the datastore server's unix socket (default DIR/datastore.sock), or the word kubernetes: the API
                       server, as a pod's service account or by $KUBECONFIG
  --felix-config FILE  Felix's file of parameters (default ${DEFAULT_FELIX_CONFIG}, if it is there)
  --log FILE           write the log to FILE, rotated at 10 MB, 3 kept (default: standard error)
  --log-level LEVEL    debug, info, warn, error (default info)
  --no-bird            do not run BIRD: no routes are exchanged
  --no-own-table       let other programs edit the policy table (edits are repaired; for tests)
  --canary SECONDS     how often packets of the agent's own prove the node's dataplane (default 50, so that what breaks is
                       told within a minute); 0: never
  --cni-socket PATH    a link to the agent's socket, where the CNI plugin finds it (default ${DEFAULT_CNI_SOCKET}
                       with the default run folder, else none)
  --no-cni-socket      make no such link
  --listen HOST:PORT   serve /liveness, /readiness and /metrics over TCP too

Environment, as Calico's: NODENAME, DATASTORE_TYPE=kubernetes, IP, IP6, IP_AUTODETECTION_METHOD, IP6_AUTODETECTION_METHOD,
AUTODETECT_POLL_INTERVAL, AS, CALICO_IPV4POOL_CIDR and the others of pools, NO_DEFAULT_POOLS,
USE_POD_CIDR (host-local IPAM with usePodCIDR); and FELIX_LOGPREFIX=... and so on
for each parameter of FelixConfiguration that has an effect: it goes before the file, and both before what is stored.

Example: agent --node node-a --run /run/gingham --log /var/log/gingham/agent.log
`

const KUBERNETES = 'kubernetes'
/** Where Calico's node keeps them. */
const NODE_FOLDER = '/var/lib/calico'

/** The options, or the text to print and the exit code. */
export function parseOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
): AgentOptions | { readonly text: string; readonly code: number } {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        node: { type: 'string' },
        run: { type: 'string' },
        state: { type: 'string' },
        datastore: { type: 'string' },
        'felix-config': { type: 'string' },
        log: { type: 'string' },
        'log-level': { type: 'string' },
        'no-bird': { type: 'boolean' },
        'no-own-table': { type: 'boolean' },
        canary: { type: 'string' },
        'cni-socket': { type: 'string' },
        'no-cni-socket': { type: 'boolean' },
        listen: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    })
    if (values.help) return { text: HELP, code: 0 }
    const run = values.run ?? DEFAULT_RUN
    const datastore = values.datastore ?? (env.DATASTORE_TYPE === KUBERNETES ? KUBERNETES : undefined)
    const onKubernetes = datastore === KUBERNETES
    const settings = parseNodeSettings(env, { method: onKubernetes ? { kind: 'kubernetes-internal-ip' } : undefined })
    if (!settings.ok) throw new Error(settings.problems.map(p => `${p.path}=${p.value}: ${p.message}`).join('\n'))
    const canary = Number(values.canary ?? 50)
    if (!Number.isFinite(canary) || canary < 0) throw new Error(`--canary ${values.canary}: not a number of seconds`)
    const cniSocket = values['cni-socket'] ?? (run === DEFAULT_RUN ? DEFAULT_CNI_SOCKET : undefined)
    return {
      node: values.node ?? (env.NODENAME || hostname().toLowerCase()),
      run,
      state: values.state ?? path.join(run, 'state'),
      datastore: onKubernetes
        ? { kind: 'kubernetes' }
        : { kind: 'embedded', socket: datastore ?? path.join(run, 'datastore.sock') },
      settings: settings.value,
      // Several agents of one machine, each with a run folder of its own, are no node's.
      nodeFolder: onKubernetes ? (run === DEFAULT_RUN ? NODE_FOLDER : path.join(run, 'node')) : undefined,
      felixConfig: values['felix-config'] ?? DEFAULT_FELIX_CONFIG,
      log: values.log,
      logLevel: values['log-level'] ?? 'info',
      bird: values['no-bird'] !== true,
      ownTable: values['no-own-table'] !== true,
      canary,
      cniSocket: values['no-cni-socket'] ? undefined : cniSocket,
      listen: values.listen,
    }
  } catch (error) {
    return { text: `${(error as Error).message}\n\n${HELP}`, code: 2 }
  }
}
