import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { decodeConfig } from './config.ts'
import { printNetworkList } from './network-list.ts'

describe('printNetworkList', () => {
  const plugins = (text: string) => (JSON.parse(text) as { plugins: { type: string }[] }).plugins

  it('chains portmap and bandwidth behind our plugin, as far as the host has them', () => {
    const types = (text: string) => plugins(text).map(({ type }) => type)
    assert.deepEqual(types(printNetworkList()), ['calico', 'portmap', 'bandwidth'])
    assert.deepEqual(types(printNetworkList({ chained: ['portmap'] })), ['calico', 'portmap'])
    assert.deepEqual(types(printNetworkList({ chained: [] })), ['calico'])
  })

  it('is a configuration that our own plugin takes', () => {
    const list = printNetworkList({ mtu: 1440, families: { ipv4: true, ipv6: true } })
    // The runtime hands each plugin its part, with the list's name and version.
    const { name, cniVersion } = JSON.parse(list)
    const decoded = decodeConfig({ name, cniVersion, ...plugins(list)[0] })
    assert.ok(decoded.ok)
    assert.equal(decoded.value.name, 'k8s-pod-network')
    assert.equal(decoded.value.mtu, 1440)
    assert.deepEqual(decoded.value.families, [4, 6])
  })
})
