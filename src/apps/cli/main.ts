// The command line: standard streams, the environment, and the exit code.

import { VERSION } from '../../core/base/version.ts'
import { connectAgents } from './agents.ts'
import { run } from './cli.ts'
import { connectDatastore, runDirectory } from './connect.ts'

// A reader that has seen enough (`| head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

process.exitCode = await run(process.argv.slice(2), {
  terminal: {
    out: text => void process.stdout.write(text),
    err: text => void process.stderr.write(text),
    stdin: process.stdin,
  },
  connect: chosen => connectDatastore(process.env, chosen),
  agents: connectAgents(runDirectory(process.env)),
  version: VERSION,
})
