// Puts the CNI plugin and its configuration on a host: what the init container of the DaemonSet does. Safe to repeat while
// containers are being started: each file is written beside its place and moved there.
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CHAINED_PLUGINS, NETWORK_FILE, PLUGIN_NAMES, printNetworkList } from '../../core/cni/network-list.ts'

const HELP = `Installs the CNI plugin on this host.

Usage: install-cni [options]
  --bin DIR      the runtime's folder of plugins (default /host/opt/cni/bin)
  --config DIR   the runtime's folder of networks (default /host/etc/cni/net.d)
  --client FILE  the plugin to install (default: the one of the image)
  --mtu NUMBER   of pods' interfaces; without it the agent decides
  --ipv6         pods get IPv6 addresses
  --no-ipv4      pods get no IPv4 addresses
`

const { values } = parseArgs({
  options: {
    bin: { type: 'string', default: '/host/opt/cni/bin' },
    config: { type: 'string', default: '/host/etc/cni/net.d' },
    // Where the image has it.
    client: { type: 'string', default: join(import.meta.dirname, 'cni/gingham') },
    mtu: { type: 'string' },
    ipv6: { type: 'boolean', default: false },
    'no-ipv4': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h' },
  },
})

function put(path: string, write: (path: string) => void): void {
  const fresh = `${path}.new`
  write(fresh)
  try {
    if (readFileSync(fresh).equals(readFileSync(path))) {
      rmSync(fresh)
      return
    }
  } catch {
    // There is none yet.
  }
  renameSync(fresh, path)
  process.stdout.write(`installed ${path}\n`)
}

if (values.help) {
  process.stdout.write(HELP)
} else {
  mkdirSync(values.bin, { recursive: true })
  mkdirSync(values.config, { recursive: true })
  for (const name of PLUGIN_NAMES) put(join(values.bin, name), fresh => copyFileSync(values.client, fresh))
  const chained = CHAINED_PLUGINS.filter(name => existsSync(join(values.bin, name)))
  for (const name of CHAINED_PLUGINS.filter(name => !chained.includes(name)))
    process.stdout.write(`${join(values.bin, name)} is not there: pods get no ${name}\n`)
  // The plugin first: a runtime that sees the configuration starts it at once.
  const list = printNetworkList({
    chained,
    families: { ipv4: !values['no-ipv4'], ipv6: values.ipv6 },
    ...(values.mtu === undefined ? {} : { mtu: Number(values.mtu) }),
  })
  put(join(values.config, NETWORK_FILE), fresh => writeFileSync(fresh, list))
}
