// Network namespaces for tests: names of our own process, removed when the test ends, however it ends.
import { execFileSync } from 'node:child_process'
import { after, before, type TestContext } from 'node:test'
import { namedNetns } from '../../src/io/kernel/netns.ts'

let count = 0

/** The path of a fresh namespace, with loopback up. */
export function freshNetns(t: Pick<TestContext, 'after'>): { name: string; path: string } {
  const name = `gt${process.pid}-${++count}`
  execFileSync('ip', ['netns', 'add', name])
  t.after(() => execFileSync('ip', ['netns', 'del', name]))
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up'])
  return { name, path: namedNetns(name) }
}

/** Runs a command inside and returns its output; throws with its standard error. */
export function runIn(netns: string, command: string, ...args: string[]): string {
  return execFileSync('ip', ['netns', 'exec', netns, command, ...args], { encoding: 'utf8', maxBuffer: 1 << 28 })
}

/** A namespace for all tests of the file that calls this before its own hooks: removed after the last. Gives its path. */
export function netnsOfFile(name: string): string {
  before(() => execFileSync('ip', ['netns', 'add', name]))
  after(() => execFileSync('ip', ['netns', 'del', name]))
  return namedNetns(name)
}

/** Runs nft inside with an input and returns its output; throws with its standard error. */
export const nftIn = (netns: string, args: readonly string[], input = ''): string =>
  execFileSync('ip', ['netns', 'exec', netns, 'nft', ...args], { encoding: 'utf8', input, maxBuffer: 1 << 28 })
