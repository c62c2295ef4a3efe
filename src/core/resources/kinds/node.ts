// Node, as Calico sees it: its BGP and tunnel addresses. On Kubernetes they live in annotations of the Kubernetes Node.
import { z } from 'zod'
import { address, asNumber, interfaceAddress, list, macAddress, text } from '../field.ts'
import { calicoKind } from '../kind.ts'
import { calicoHead } from '../metadata.ts'

const bgp = z.strictObject({
  asNumber: asNumber().optional(),
  ipv4Address: interfaceAddress().optional(),
  ipv6Address: interfaceAddress().optional(),
  ipv4IPIPTunnelAddr: address().optional(),
  routeReflectorClusterID: address().optional(),
})

export const node = calicoKind({
  kind: 'Node',
  plural: 'nodes',
  namespaced: false,
  aliases: ['no', 'nos'],
  schema: z.strictObject({
    ...calicoHead('Node'),
    spec: z
      .strictObject({
        bgp: bgp.optional(),
        ipv4VXLANTunnelAddr: address().optional(),
        vxlanTunnelMACAddr: macAddress(),
        ipv6VXLANTunnelAddr: address().optional(),
        vxlanTunnelMACAddrV6: macAddress(),
        orchRefs: list(z.strictObject({ nodeName: text(), orchestrator: z.string() })),
        wireguard: z
          .strictObject({ interfaceIPv4Address: address().optional(), interfaceIPv6Address: address().optional() })
          .optional(),
        addresses: list(
          z.strictObject({
            address: interfaceAddress(),
            type: z.enum(['CalicoNodeIP', 'InternalIP', 'ExternalIP']).optional(),
          }),
        ),
        interfaces: list(z.strictObject({ name: text(), addresses: list(interfaceAddress()) })),
      })
      .prefault({}),
    status: z
      .looseObject({
        wireguardPublicKey: text(),
        wireguardPublicKeyV6: text(),
        podCIDRs: list(z.string()),
      })
      .default({}),
  }),
  check: ({ spec }) => {
    if (spec.bgp === undefined) return []
    const problems = []
    if (Object.values(spec.bgp).every(value => value === undefined)) {
      problems.push({ path: 'spec.bgp', message: 'must not be empty', fix: 'leave bgp out or give its address' })
    }
    for (const [field, wants6] of [
      ['ipv4Address', false],
      ['ipv6Address', true],
      ['ipv4IPIPTunnelAddr', false],
      ['routeReflectorClusterID', false],
    ] as const) {
      const value = spec.bgp[field]
      if (value !== undefined && value.includes(':') !== wants6) {
        problems.push({ path: `spec.bgp.${field}`, message: `is not IPv${wants6 ? 6 : 4}`, value })
      }
    }
    return problems
  },
})
