// Felix's parameters as this process finds them.
import { readFileSync } from 'node:fs'
import { FELIX_USED } from '../../core/explain/no-effect.ts'
import { type FelixParameters, felixParameters } from '../../core/resources/felix-parameters.ts'

/** From the environment, and from the file if it is there; one that cannot be read is told. */
export function readFelixParameters(path: string): FelixParameters {
  try {
    return felixParameters({ env: process.env, file: readFileSync(path, 'utf8') }, FELIX_USED)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const found = felixParameters({ env: process.env }, FELIX_USED)
    if (code === 'ENOENT') return found
    return { ...found, fatal: [...found.fatal, { path, message: `cannot be read: ${message}` }] }
  }
}
