// The lab uses the command line as a person does: `bin/gingham`, with what it says shown.
import { execFile } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..')
export const example = (name: string): string => path.join(ROOT, 'examples', name)

export type Said = { readonly stdout: string; readonly stderr: string; readonly code: number }

/** Runs `bin/gingham` against the lab in a run folder. */
export function gingham(run: string, ...args: string[]): Promise<Said> {
  const env = { ...process.env, GINGHAM_RUN: run, NO_COLOR: '1' }
  return new Promise(resolve => {
    execFile(path.join(ROOT, 'bin/gingham'), args, { env }, (error, stdout, stderr) => {
      resolve({ stdout, stderr, code: typeof error?.code === 'number' ? error.code : error ? 1 : 0 })
    })
  })
}

/** As `gingham`, and what fails is an error with the command's own words. */
export async function ginghamOk(run: string, ...args: string[]): Promise<Said> {
  const said = await gingham(run, ...args)
  if (said.code !== 0) throw new Error(`bin/gingham ${args.join(' ')}: ${said.stderr.trim() || said.stdout.trim()}`)
  return said
}
