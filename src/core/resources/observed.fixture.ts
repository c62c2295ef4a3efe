// What a real calicoctl stored in etcd for documents as users write them: key and value, exactly as encoded.
// The times and uids are those of that day.

export type Observed = { readonly document: unknown; readonly key: string; readonly value: string }

export const OBSERVED: readonly Observed[] = [
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'Tier',
      metadata: { name: 'security' },
      spec: { order: 100, defaultAction: 'Pass' },
    },
    key: '/calico/resources/v3/projectcalico.org/tiers/security',
    value:
      '{"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"security","uid":"e0d299f5-1dc6-483f-9656-be3cf0d9e567","creationTimestamp":"2026-11-24T06:01:59Z"},"spec":{"order":100,"defaultAction":"Pass"},"status":{}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'IPPool',
      metadata: { name: 'pool-vxlan' },
      spec: { cidr: '10.20.0.0/16', vxlanMode: 'CrossSubnet', natOutgoing: true, blockSize: 26, nodeSelector: 'all()' },
    },
    key: '/calico/resources/v3/projectcalico.org/ippools/pool-vxlan',
    value:
      '{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"pool-vxlan","uid":"3b7772c4-ab9e-4967-9b8f-9ed62f0343cd","creationTimestamp":"2026-11-24T06:01:59Z"},"spec":{"cidr":"10.20.0.0/16","vxlanMode":"CrossSubnet","ipipMode":"Never","natOutgoing":true,"blockSize":26,"nodeSelector":"all()","allowedUses":["Workload","Tunnel"],"assignmentMode":"Automatic"}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'IPPool',
      metadata: { name: 'pool-ipip' },
      spec: { cidr: '10.21.0.0/16', ipipMode: 'Always', natOutgoing: false, nodeSelector: "rack == 'r1'" },
    },
    key: '/calico/resources/v3/projectcalico.org/ippools/pool-ipip',
    value:
      '{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"pool-ipip","uid":"f56aca64-7c8e-4ec9-8cee-b9504610d893","creationTimestamp":"2026-11-24T06:01:59Z"},"spec":{"cidr":"10.21.0.0/16","vxlanMode":"Never","ipipMode":"Always","blockSize":26,"nodeSelector":"rack == \'r1\'","allowedUses":["Workload","Tunnel"],"assignmentMode":"Automatic"}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'Node',
      metadata: { name: 'node-1', labels: { rack: 'r1' } },
      spec: {
        bgp: { ipv4Address: '172.31.0.1/24', asNumber: 64513, ipv4IPIPTunnelAddr: '10.21.0.1' },
        ipv4VXLANTunnelAddr: '10.20.0.1',
        vxlanTunnelMACAddr: '66:11:22:33:44:55',
      },
    },
    key: '/calico/resources/v3/projectcalico.org/nodes/node-1',
    value:
      '{"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"node-1","uid":"a0e28810-a8ac-4907-991d-dad598e021aa","creationTimestamp":"2026-11-24T06:01:59Z","labels":{"rack":"r1"}},"spec":{"bgp":{"asNumber":64513,"ipv4Address":"172.31.0.1/24","ipv4IPIPTunnelAddr":"10.21.0.1"},"ipv4VXLANTunnelAddr":"10.20.0.1","vxlanTunnelMACAddr":"66:11:22:33:44:55"},"status":{}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'Node',
      metadata: { name: 'node-2' },
      spec: { bgp: { ipv4Address: '172.31.0.2/24' } },
    },
    key: '/calico/resources/v3/projectcalico.org/nodes/node-2',
    value:
      '{"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"node-2","uid":"e0b75a3f-bb75-41a4-bebb-bc24bb8b552b","creationTimestamp":"2026-11-24T06:01:59Z"},"spec":{"bgp":{"ipv4Address":"172.31.0.2/24"}},"status":{}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'Profile',
      metadata: { name: 'prof-1' },
      spec: {
        ingress: [{ action: 'Allow', source: { selector: "app == 'x'" } }],
        egress: [{ action: 'Allow' }],
        labelsToApply: { fromprofile: 'yes' },
      },
    },
    key: '/calico/resources/v3/projectcalico.org/profiles/prof-1',
    value:
      '{"kind":"Profile","apiVersion":"projectcalico.org/v3","metadata":{"name":"prof-1","uid":"c95c1896-1dea-43f9-8cf2-6e193505a23d","creationTimestamp":"2026-11-24T06:01:59Z"},"spec":{"ingress":[{"action":"Allow","source":{"selector":"app == \'x\'"}}],"egress":[{"action":"Allow"}],"labelsToApply":{"fromprofile":"yes"}}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'GlobalNetworkPolicy',
      metadata: { name: 'gnp-1' },
      spec: {
        order: 11,
        selector: "app == 'web' && has(env)",
        types: ['Ingress', 'Egress'],
        ingress: [
          {
            action: 'Allow',
            protocol: 'TCP',
            source: { selector: "role in {'fe','be'}", notNets: ['10.9.0.0/16'] },
            destination: { ports: [80, '443:445', 'named-port'] },
          },
          { action: 'Log' },
          { action: 'Deny', protocol: 'ICMP', icmp: { type: 8, code: 0 } },
        ],
        egress: [{ action: 'Allow', protocol: 'UDP', destination: { nets: ['10.0.0.0/8'], ports: [53] } }],
      },
    },
    key: '/calico/resources/v3/projectcalico.org/globalnetworkpolicies/gnp-1',
    value:
      '{"kind":"GlobalNetworkPolicy","apiVersion":"projectcalico.org/v3","metadata":{"name":"gnp-1","uid":"7974fa07-69f8-436d-b3be-f658a2f347cb","creationTimestamp":"2026-11-24T06:01:59Z","labels":{"projectcalico.org/tier":"default"},"annotations":{"projectcalico.org/metadata":"{\\"name\\":\\"gnp-1\\"}"}},"spec":{"tier":"default","order":11,"ingress":[{"action":"Allow","protocol":"TCP","source":{"selector":"role in {\'fe\',\'be\'}","notNets":["10.9.0.0/16"]},"destination":{"ports":[80,"443:445","named-port"]}},{"action":"Log"},{"action":"Deny","protocol":"ICMP","icmp":{"type":8,"code":0}}],"egress":[{"action":"Allow","protocol":"UDP","destination":{"nets":["10.0.0.0/8"],"ports":[53]}}],"selector":"app == \'web\' \\u0026\\u0026 has(env)","types":["Ingress","Egress"]}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'GlobalNetworkPolicy',
      metadata: { name: 'security.gnp-2' },
      spec: {
        tier: 'security',
        order: 20,
        namespaceSelector: 'has(projectcalico.org/name)',
        selector: 'all()',
        ingress: [{ action: 'Pass' }],
      },
    },
    key: '/calico/resources/v3/projectcalico.org/globalnetworkpolicies/security.gnp-2',
    value:
      '{"kind":"GlobalNetworkPolicy","apiVersion":"projectcalico.org/v3","metadata":{"name":"security.gnp-2","uid":"c21425fc-4a59-4717-8037-9aed4d0cc9f3","creationTimestamp":"2026-11-24T06:01:59Z","labels":{"projectcalico.org/tier":"security"},"annotations":{"projectcalico.org/metadata":"{\\"name\\":\\"security.gnp-2\\"}"}},"spec":{"tier":"security","order":20,"ingress":[{"action":"Pass"}],"selector":"all()","types":["Ingress"],"namespaceSelector":"has(projectcalico.org/name)"}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'GlobalNetworkPolicy',
      metadata: { name: 'hostdnat' },
      spec: {
        selector: 'has(host)',
        order: 5,
        preDNAT: true,
        applyOnForward: true,
        ingress: [{ action: 'Deny', protocol: 'TCP', destination: { ports: [31000] } }],
      },
    },
    key: '/calico/resources/v3/projectcalico.org/globalnetworkpolicies/hostdnat',
    value:
      '{"kind":"GlobalNetworkPolicy","apiVersion":"projectcalico.org/v3","metadata":{"name":"hostdnat","uid":"8cb9bfa4-45be-4e5b-a887-cab4c79879c4","creationTimestamp":"2026-11-24T06:02:17Z","labels":{"projectcalico.org/tier":"default"},"annotations":{"projectcalico.org/metadata":"{\\"name\\":\\"hostdnat\\"}"}},"spec":{"tier":"default","order":5,"ingress":[{"action":"Deny","protocol":"TCP","destination":{"ports":[31000]}}],"selector":"has(host)","types":["Ingress"],"preDNAT":true,"applyOnForward":true}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'NetworkPolicy',
      metadata: { name: 'np-1', namespace: 'prod' },
      spec: {
        selector: "app == 'db'",
        ingress: [
          {
            action: 'Allow',
            protocol: 'TCP',
            source: { namespaceSelector: "team == 'a'", selector: "app == 'web'" },
            destination: { ports: [5432] },
          },
        ],
      },
    },
    key: '/calico/resources/v3/projectcalico.org/networkpolicies/prod/np-1',
    value:
      '{"kind":"NetworkPolicy","apiVersion":"projectcalico.org/v3","metadata":{"name":"np-1","namespace":"prod","uid":"ec3a3dfd-c965-4a85-9631-ab2309524eb0","creationTimestamp":"2026-11-24T06:01:59Z","labels":{"projectcalico.org/tier":"default"},"annotations":{"projectcalico.org/metadata":"{\\"name\\":\\"np-1\\"}"}},"spec":{"tier":"default","ingress":[{"action":"Allow","protocol":"TCP","source":{"selector":"app == \'web\'","namespaceSelector":"team == \'a\'"},"destination":{"ports":[5432]}}],"selector":"app == \'db\'","types":["Ingress"]}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'GlobalNetworkSet',
      metadata: { name: 'gns-1', labels: { set: 'bad' } },
      spec: { nets: ['198.51.100.0/24', '203.0.113.7'] },
    },
    key: '/calico/resources/v3/projectcalico.org/globalnetworksets/gns-1',
    value:
      '{"kind":"GlobalNetworkSet","apiVersion":"projectcalico.org/v3","metadata":{"name":"gns-1","uid":"dc2d319f-8dbb-41b3-b2c3-0b9ce6ff0528","creationTimestamp":"2026-11-24T06:01:59Z","labels":{"set":"bad"}},"spec":{"nets":["198.51.100.0/24","203.0.113.7"]}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'NetworkSet',
      metadata: { name: 'ns-1', namespace: 'prod', labels: { set: 'good' } },
      spec: { nets: ['192.0.2.0/24'] },
    },
    key: '/calico/resources/v3/projectcalico.org/networksets/prod/ns-1',
    value:
      '{"kind":"NetworkSet","apiVersion":"projectcalico.org/v3","metadata":{"name":"ns-1","namespace":"prod","uid":"c2297e35-4a1f-4fa8-b566-58eb8af55379","creationTimestamp":"2026-11-24T06:01:59Z","labels":{"set":"good"}},"spec":{"nets":["192.0.2.0/24"]}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'WorkloadEndpoint',
      metadata: { name: 'node--1-k8s-web--0-eth0', namespace: 'prod', labels: { app: 'web', env: 'p' } },
      spec: {
        node: 'node-1',
        orchestrator: 'k8s',
        pod: 'web-0',
        endpoint: 'eth0',
        containerID: '0123456789abcdef',
        ipNetworks: ['10.20.0.5/32'],
        interfaceName: 'cali0123456789a',
        mac: 'aa:bb:cc:dd:ee:ff',
        profiles: ['prof-1'],
        ports: [{ name: 'named-port', port: 8080, protocol: 'TCP' }],
      },
    },
    key: '/calico/resources/v3/projectcalico.org/workloadendpoints/prod/node--1-k8s-web--0-eth0',
    value:
      '{"kind":"WorkloadEndpoint","apiVersion":"projectcalico.org/v3","metadata":{"name":"node--1-k8s-web--0-eth0","namespace":"prod","uid":"b5c16e9a-67a3-47c1-8f64-31a2ddba9137","creationTimestamp":"2026-11-24T06:01:59Z","labels":{"app":"web","env":"p","projectcalico.org/namespace":"prod","projectcalico.org/orchestrator":"k8s"}},"spec":{"orchestrator":"k8s","node":"node-1","containerID":"0123456789abcdef","pod":"web-0","endpoint":"eth0","ipNetworks":["10.20.0.5/32"],"profiles":["prof-1"],"interfaceName":"cali0123456789a","mac":"aa:bb:cc:dd:ee:ff","ports":[{"name":"named-port","protocol":"TCP","port":8080,"hostPort":0,"hostIP":""}]}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'BGPConfiguration',
      metadata: { name: 'default' },
      spec: {
        asNumber: 64512,
        nodeToNodeMeshEnabled: true,
        serviceClusterIPs: [{ cidr: '10.96.0.0/12' }],
        communities: [{ name: 'c1', value: '64512:100' }],
        prefixAdvertisements: [{ cidr: '10.20.0.0/16', communities: ['c1'] }],
      },
    },
    key: '/calico/resources/v3/projectcalico.org/bgpconfigurations/default',
    value:
      '{"kind":"BGPConfiguration","apiVersion":"projectcalico.org/v3","metadata":{"name":"default","uid":"eaf257e0-e2da-4fdc-a22b-430bf0044455","creationTimestamp":"2026-11-24T06:02:00Z"},"spec":{"logSeverityScreen":"Info","nodeToNodeMeshEnabled":true,"asNumber":64512,"serviceClusterIPs":[{"cidr":"10.96.0.0/12"}],"serviceLoadBalancerAggregation":"Enabled","communities":[{"name":"c1","value":"64512:100"}],"prefixAdvertisements":[{"cidr":"10.20.0.0/16","communities":["c1"]}]}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'BGPPeer',
      metadata: { name: 'peer-1' },
      spec: { peerIP: '172.31.0.254', asNumber: 65000, node: 'node-1', filters: ['filter-1'] },
    },
    key: '/calico/resources/v3/projectcalico.org/bgppeers/peer-1',
    value:
      '{"kind":"BGPPeer","apiVersion":"projectcalico.org/v3","metadata":{"name":"peer-1","uid":"2a480d49-1623-40b6-bab9-e8e13ec7e722","creationTimestamp":"2026-11-24T06:02:17Z"},"spec":{"node":"node-1","peerIP":"172.31.0.254","asNumber":65000,"filters":["filter-1"]}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'BGPPeer',
      metadata: { name: 'peer-2' },
      spec: { nodeSelector: 'all()', peerSelector: "rr == 'true'" },
    },
    key: '/calico/resources/v3/projectcalico.org/bgppeers/peer-2',
    value:
      '{"kind":"BGPPeer","apiVersion":"projectcalico.org/v3","metadata":{"name":"peer-2","uid":"486458aa-cdf0-42c9-b4b1-17ea4bf46483","creationTimestamp":"2026-11-24T06:02:00Z"},"spec":{"nodeSelector":"all()","peerSelector":"rr == \'true\'"}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'FelixConfiguration',
      metadata: { name: 'default' },
      spec: { logSeverityScreen: 'Info', nftablesMode: 'Enabled' },
    },
    key: '/calico/resources/v3/projectcalico.org/felixconfigurations/default',
    value:
      '{"kind":"FelixConfiguration","apiVersion":"projectcalico.org/v3","metadata":{"name":"default","uid":"441738bf-6e54-4200-9b3e-5580d57228ad","creationTimestamp":"2026-11-24T06:02:00Z"},"spec":{"logSeverityScreen":"Info","nftablesMode":"Enabled","nftablesFlowTableOffload":"Disabled","bpfLogLevel":"","bpfConnectTimeLoadBalancing":"TCP","bpfHostNetworkedNATWithoutCTLB":"Enabled","floatingIPs":"Disabled"}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'FelixConfiguration',
      metadata: { name: 'node.node-1' },
      spec: { nftablesRefreshInterval: '60s' },
    },
    key: '/calico/resources/v3/projectcalico.org/felixconfigurations/node.node-1',
    value:
      '{"kind":"FelixConfiguration","apiVersion":"projectcalico.org/v3","metadata":{"name":"node.node-1","uid":"337241a6-c909-4d33-a309-b2d13e9357d6","creationTimestamp":"2026-11-24T06:02:00Z"},"spec":{"nftablesMode":"Auto","nftablesFlowTableOffload":"Disabled","nftablesRefreshInterval":"1m0s","bpfLogLevel":"","bpfConnectTimeLoadBalancing":"TCP","bpfHostNetworkedNATWithoutCTLB":"Enabled","floatingIPs":"Disabled"}}',
  },
  {
    document: {
      apiVersion: 'projectcalico.org/v3',
      kind: 'IPAMConfiguration',
      metadata: { name: 'default' },
      spec: { strictAffinity: true, maxBlocksPerHost: 4 },
    },
    key: '/calico/resources/v3/projectcalico.org/ipamconfigurations/default',
    value:
      '{"kind":"IPAMConfiguration","apiVersion":"projectcalico.org/v3","metadata":{"name":"default","uid":"4ce8b340-af64-4047-9d2b-84f73beb9936","creationTimestamp":"2026-11-24T06:02:00Z"},"spec":{"strictAffinity":true,"maxBlocksPerHost":4,"autoAllocateBlocks":false}}',
  },
]
