// What the machine itself must offer. Nothing is guessed from versions: each thing is tried, in a namespace of its own.
import { findProgram, run, SetUpError } from './run.mjs'

/** What must hold before anything can be installed. `command` is what the user typed, for the fix. */
export function checkMachine(command) {
  if (process.platform !== 'linux') throw new SetUpError('This needs Linux.', `Run ${command} on a Debian machine.`)
  if (process.geteuid() !== 0) {
    throw new SetUpError('Network namespaces and nftables need root.', `Run it as root: sudo ${command}`)
  }
  if (findProgram('apt-get') === undefined || findProgram('dpkg') === undefined) {
    throw new SetUpError(
      'The set-up installs packages with apt-get, which is not here.',
      'Use Debian 12 or a relative of it.',
    )
  }
  const namespace = run('unshare', ['--net', '--mount', 'true'])
  if (namespace.code !== 0) {
    throw new SetUpError(
      `The kernel gives no network namespaces (${namespace.output.trim()}).`,
      'In a container, run it privileged (--privileged, or CAP_SYS_ADMIN and CAP_NET_ADMIN).',
    )
  }
}

const TABLE = 'add table inet probe'
// A catch-all element in a map is the youngest thing that the policy table is made of (Linux 5.13).
const CATCH_ALL = 'add map inet probe m { type ipv4_addr : mark; }; add element inet probe m { * : 1 }'

/** Needs `nft`, so it comes after the Debian packages. */
export function checkNftables() {
  const tryRules = rules => run('unshare', ['--net', 'nft', rules])
  const table = tryRules(TABLE)
  if (table.code !== 0) {
    throw new SetUpError(
      `The kernel has no nf_tables (${table.output.trim().split('\n')[0]}).`,
      'Load the module (modprobe nf_tables), or use a kernel built with CONFIG_NF_TABLES.',
    )
  }
  if (tryRules(`${TABLE}; ${CATCH_ALL}`).code !== 0) {
    throw new SetUpError("The kernel's nf_tables has no catch-all map elements.", 'Use Linux 5.13 or later.')
  }
}
