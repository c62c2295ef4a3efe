// The node agent's process.
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { VERSION } from '../../core/base/version.ts'
import { openLog } from '../../io/log.ts'
import { Agent } from './agent.ts'
import { findDatastore } from './datastore.ts'
import { readFelixParameters } from './felix-file.ts'
import { parseOptions } from './options.ts'

const options = parseOptions(process.argv.slice(2))
if ('text' in options) {
  process.stdout.write(options.text)
  process.exit(options.code)
}
if (process.getuid?.() !== 0) {
  process.stderr.write('the agent programs the kernel and must run as root: run it with sudo\n')
  process.exit(1)
}
const local = readFelixParameters(options.felixConfig)
const log = openLog({ name: 'agent', level: options.logLevel, ...(options.log && { file: options.log }) })
mkdirSync(path.join(options.run, 'bird', options.node), { recursive: true })

process.on('uncaughtException', error => {
  // The table in the kernel goes on guarding; whoever supervises starts the next agent.
  log.fatal({ err: error }, 'the agent met a bug and ends')
  process.exit(70)
})

for (const problem of local.warnings) log.warn(problem, 'a parameter of Felix')
if (local.fatal.length > 0) {
  log.fatal({ problems: local.fatal }, 'the agent does not start with these parameters of Felix: mend or remove them')
  process.exit(2)
}

const agent = new Agent(
  { ...options, local: local.settings },
  await findDatastore(options.datastore, options.node, log),
  log,
)
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    log.info({ signal }, 'ending; policy stays in the kernel')
    void agent.stop().then(() => process.exit(0))
  })
}
log.info({ node: options.node, version: VERSION }, 'starting')
await agent.start()
