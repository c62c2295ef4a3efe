// The node agent's process.
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { VERSION } from '../../core/base/version.ts'
import { openLog } from '../../io/log.ts'
import { Agent } from './agent.ts'
import { findDatastore } from './datastore.ts'
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
const log = openLog({ name: 'agent', level: options.logLevel, ...(options.log && { file: options.log }) })
mkdirSync(path.join(options.run, 'bird', options.node), { recursive: true })

process.on('uncaughtException', error => {
  // The table in the kernel goes on guarding; whoever supervises starts the next agent.
  log.fatal({ err: error }, 'the agent met a bug and ends')
  process.exit(70)
})

const agent = new Agent(options, await findDatastore(options.datastore, options.node), log)
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    log.info({ signal }, 'ending; policy stays in the kernel')
    void agent.stop().then(() => process.exit(0))
  })
}
log.info({ node: options.node, version: VERSION }, 'starting')
await agent.start()
