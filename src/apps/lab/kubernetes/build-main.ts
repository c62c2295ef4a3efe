// `npm run kubernetes:build [-- NAME...]` builds components; with `--check` it prints those that are missing, one a line.
import { parseArgs } from 'node:util'
import { BuildError, buildComponents } from './build.ts'
import { COMPONENTS, missingComponents } from './components.ts'

const USAGE = 'Use: npm run kubernetes:build [-- [--check] [--jobs N] [NAME...]]'

async function main(): Promise<number> {
  const all = COMPONENTS.map(({ name }) => name)
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { check: { type: 'boolean' }, jobs: { type: 'string' } },
  })
  const names = positionals.length === 0 ? all : positionals
  const unknown = names.find(name => !all.includes(name))
  if (unknown !== undefined)
    throw new BuildError(`There is no component ${unknown}; there are ${all.join(', ')}. ${USAGE}`)
  if (values.check) {
    const missing = missingComponents(names)
    for (const name of missing) console.log(name)
    return missing.length === 0 ? 0 : 1
  }
  const jobs = values.jobs === undefined ? undefined : Number(values.jobs)
  if (jobs !== undefined && !(Number.isInteger(jobs) && jobs > 0))
    throw new BuildError(`--jobs takes a number. ${USAGE}`)
  const built = await buildComponents({ names, say: line => console.log(`[kubernetes] ${line}`), jobs })
  console.log(`[kubernetes] ${built === 0 ? 'everything is there' : `${built} built`}`)
  return 0
}

try {
  process.exitCode = await main()
} catch (error) {
  console.error(error instanceof BuildError ? `[kubernetes] ${error.message}` : error)
  process.exitCode = 1
}
