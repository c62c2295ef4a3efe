// The lab's command line: `npm start -- --once`.
import { parseArgs } from 'node:util'
import { DEFAULT_PREFIX, isPrefix } from './plan.ts'

export type LabOptions = {
  /** Ends after the matrix instead of staying up until Ctrl-C. */
  readonly once: boolean
  /** Sockets, logs, the datastore and the record of what to clean up. */
  readonly run: string
  /** Begins the names of the lab's network namespaces. */
  readonly prefix: string
}

/** Where `bin/gingham` looks without being told. */
export const DEFAULT_RUN = '/run/gingham'

const HELP = `Builds a cluster of three nodes on this machine, applies an example policy and shows what it does to real packets.

Usage: npm start [-- options]
  --once         end after the matrix (exit code 1 if a packet went otherwise than expected)
  --run DIR      folder for sockets, logs and data (default ${DEFAULT_RUN})
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
        run: { type: 'string', default: DEFAULT_RUN },
        prefix: { type: 'string', default: DEFAULT_PREFIX },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    if (values.help) return { text: HELP, code: 0 }
    if (!isPrefix(values.prefix))
      throw new Error(`--prefix ${values.prefix}: small letters, digits and -, a letter first, at most 31`)
    if (!values.run.startsWith('/')) throw new Error(`--run ${values.run}: give the path from /`)
    return { once: values.once, run: values.run, prefix: values.prefix }
  } catch (error) {
    return { text: `${(error as Error).message}\n\n${HELP}`, code: 2 }
  }
}
