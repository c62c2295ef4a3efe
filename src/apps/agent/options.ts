// The agent's command line. Everything has a default that fits a single host; the lab overrides them.
import { hostname } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'

export type AgentOptions = {
  readonly node: string
  /** Run folder: sockets and BIRD's files. */
  readonly run: string
  /** Unix socket of the datastore server. */
  readonly datastore: string
  /** `stderr`, or a file that is rotated. */
  readonly log: string | undefined
  readonly logLevel: string
  readonly bird: boolean
  /** TCP address `host:port` for health and metrics besides the unix socket; off by default. */
  readonly listen: string | undefined
}

export const DEFAULT_RUN = '/run/gingham'

const HELP = `gingham agent: the node agent (policy, routing, CNI)

Usage: agent [options]
  --node NAME          this node's name (default: the host name in lower case)
  --run DIR            run folder (default ${DEFAULT_RUN}); sockets are DIR/agents/NODE.sock
  --datastore SOCKET   the datastore's unix socket (default DIR/datastore.sock)
  --log FILE           write the log to FILE, rotated at 10 MB, 3 kept (default: standard error)
  --log-level LEVEL    debug, info, warn, error (default info)
  --no-bird            do not run BIRD: no routes are exchanged
  --listen HOST:PORT   serve /healthz, /readyz and /metrics over TCP too

Example: agent --node node-a --run /run/gingham --log /var/log/gingham/agent.log
`

/** The options, or the text to print and the exit code. */
export function parseOptions(argv: readonly string[]): AgentOptions | { readonly text: string; readonly code: number } {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        node: { type: 'string' },
        run: { type: 'string' },
        datastore: { type: 'string' },
        log: { type: 'string' },
        'log-level': { type: 'string' },
        'no-bird': { type: 'boolean' },
        listen: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    })
    if (values.help) return { text: HELP, code: 0 }
    const run = values.run ?? DEFAULT_RUN
    return {
      node: values.node ?? hostname().toLowerCase(),
      run,
      datastore: values.datastore ?? path.join(run, 'datastore.sock'),
      log: values.log,
      logLevel: values['log-level'] ?? 'info',
      bird: values['no-bird'] !== true,
      listen: values.listen,
    }
  } catch (error) {
    return { text: `${(error as Error).message}\n\n${HELP}`, code: 2 }
  }
}
