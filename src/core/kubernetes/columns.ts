// What the API server shows of each kind and how it may be asked: Calico's short names, columns of `kubectl get`, fields that
// lists can be narrowed by, and the kinds whose status is written apart from their spec.

export type Column = { readonly name: string; readonly type: string; readonly jsonPath: string }

export type ApiFacts = {
  readonly shortNames?: readonly string[]
  readonly columns?: readonly Column[]
  readonly selectable?: readonly string[]
  /** Whether `status` is a subresource. */
  readonly status?: boolean
}

const text = (name: string, field: string): Column => ({ name, type: 'string', jsonPath: `.spec.${field}` })
const number = (name: string, field: string): Column => ({ name, type: 'number', jsonPath: `.spec.${field}` })
const whole = (name: string, field: string): Column => ({ name, type: 'integer', jsonPath: `.spec.${field}` })
const flag = (name: string, field: string): Column => ({ name, type: 'boolean', jsonPath: `.spec.${field}` })
const age: Column = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' }
const condition = (name: string, type: string, field: string): Column => ({
  name,
  type: 'string',
  jsonPath: `.status.conditions[?(@.type=="${type}")].${field}`,
})

const tiered = { columns: [text('Tier', 'tier'), number('Order', 'order'), age], selectable: ['.spec.tier'] }

/** Kinds that are not here have no more than their name. */
export const API_FACTS: Readonly<Record<string, ApiFacts>> = {
  NetworkPolicy: { shortNames: ['cnp', 'caliconetworkpolicy'], ...tiered },
  GlobalNetworkPolicy: { shortNames: ['gnp', 'cgnp'], ...tiered },
  StagedNetworkPolicy: { shortNames: ['snp'], ...tiered },
  StagedGlobalNetworkPolicy: { shortNames: ['sgnp'], ...tiered },
  StagedKubernetesNetworkPolicy: { shortNames: ['sknp'] },
  Tier: {
    columns: [number('Order', 'order'), text('DefaultAction', 'defaultAction'), condition('Status', 'Ready', 'reason')],
    status: true,
  },
  GlobalNetworkSet: { shortNames: ['gns'] },
  NetworkSet: { shortNames: ['netset', 'netsets'] },
  HostEndpoint: { shortNames: ['hep', 'heps'], columns: [text('Node', 'node'), text('Interface', 'interfaceName')] },
  BGPConfiguration: { shortNames: ['bgpconfig', 'bgpconfigs'] },
  FelixConfiguration: { shortNames: ['felixconfig', 'felixconfigs'] },
  KubeControllersConfiguration: { shortNames: ['kcc', 'kccs'], status: true },
  IPAMConfiguration: {
    shortNames: ['ipamconfig', 'ipamconfigs'],
    columns: [
      flag('StrictAffinity', 'strictAffinity'),
      whole('MaxBlocksPerHost', 'maxBlocksPerHost'),
      flag('AutoAllocateBlocks', 'autoAllocateBlocks'),
    ],
  },
  ClusterInformation: {
    shortNames: ['clusterinfo', 'clusterinfos'],
    columns: [text('Version', 'calicoVersion'), flag('Ready', 'datastoreReady'), text('Types', 'clusterType')],
  },
  CalicoNodeStatus: { columns: [text('Node', 'node'), text('Classes', 'classes')], status: true },
  IPPool: {
    shortNames: ['ipp', 'ipps', 'pool', 'pools'],
    columns: [
      text('CIDR', 'cidr'),
      text('VXLAN', 'vxlanMode'),
      text('IPIP', 'ipipMode'),
      flag('NAT', 'natOutgoing'),
      condition('Allocatable', 'Allocatable', 'status'),
      age,
    ],
    status: true,
  },
  BGPPeer: {
    columns: [
      text('Node Selector', 'nodeSelector'),
      text('Node', 'node'),
      text('Local ASN', 'localASNumber'),
      text('Peer Selector', 'peerSelector'),
      text('Peer IP', 'peerIP'),
      text('Peer ASN', 'asNumber'),
    ],
  },
  IPAMBlock: {
    columns: [text('CIDR', 'cidr'), text('Affinity', 'affinity'), text('ClaimTime', 'affinityClaimTime')],
  },
  BlockAffinity: {
    shortNames: ['affinity', 'affinities'],
    columns: [text('CIDR', 'cidr'), text('Node', 'node'), text('Type', 'type')],
    selectable: ['.spec.node'],
  },
}
