// Felix's parameters as this process finds them.
import { readFileSync } from 'node:fs'
import type { Problem } from '../../core/base/problem.ts'
import { FELIX_USED } from '../../core/explain/no-effect.ts'
import { type FelixParameters, felixParameters } from '../../core/resources/felix-parameters.ts'

/** From the environment, and from the file if it is there; one that cannot be read is told. */
export function readFelixParameters(path: string): FelixParameters {
  let file = ''
  const unreadable: Problem[] = []
  try {
    file = readFileSync(path, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT') unreadable.push({ path, message: `cannot be read: ${message}` })
  }
  const found = felixParameters({ env: process.env, file }, FELIX_USED)
  return { ...found, fatal: [...found.fatal, ...unreadable] }
}
