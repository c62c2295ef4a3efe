// How large a packet of a pod may be: what the node's own interfaces carry, less what a tunnel puts around it.
import { ofKind, type Snapshot } from '../resources/resource.ts'

export type Carrier = { readonly name: string; readonly up: boolean; readonly mtu: number }

/** Calico's default of mtuIfacePattern: names of hardware. */
const HARDWARE = /^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)/

/** Bytes around a packet: an outer IPv4 header; or outer IP, UDP, VXLAN and inner Ethernet headers. */
const OVERHEAD = { ipip: 20, vxlan: { 4: 50, 6: 70 } } as const

/** The smallest of the interfaces that carry pods' packets to other nodes; undefined if there is none. */
export function hostMtu(interfaces: readonly Carrier[], pattern: RegExp = HARDWARE): number | undefined {
  const carriers = interfaces.filter(({ name, up }) => up && pattern.test(name))
  return carriers.length === 0 ? undefined : Math.min(...carriers.map(({ mtu }) => mtu))
}

/** Of pods' interfaces, from the carriers and the pools in use. `ipipMTU` and `vxlanMTU` of the FelixConfiguration go before. */
export function podMtu(interfaces: readonly Carrier[], snapshot: Snapshot): number | undefined {
  const settings = [...ofKind(snapshot, 'FelixConfiguration')].find(({ metadata }) => metadata.name === 'default')?.spec
  const pattern = settings?.mtuIfacePattern
  const host = hostMtu(interfaces, pattern === undefined ? HARDWARE : new RegExp(pattern))
  const sizes = [...ofKind(snapshot, 'IPPool')].flatMap(({ spec }): (number | undefined)[] => {
    if (spec.vxlanMode !== 'Never') {
      const six = spec.cidr.includes(':')
      const fixed = six ? settings?.vxlanMTUV6 : settings?.vxlanMTU
      return [fixed || (host && host - OVERHEAD.vxlan[six ? 6 : 4])]
    }
    return spec.ipipMode === 'Never' ? [] : [settings?.ipipMTU || (host && host - OVERHEAD.ipip)]
  })
  const known = [host, ...sizes].filter(size => size !== undefined)
  return known.length === 0 ? undefined : Math.min(...known)
}
