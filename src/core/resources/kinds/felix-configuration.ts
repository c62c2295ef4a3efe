// FelixConfiguration: the settings of the node agent, all of Calico's parameters by type. A parameter that the table
// does not know is an error with the nearest name: a mistyped setting must not be a setting without effect.
import { z } from 'zod'
import { ok, type Problem, type Result } from '../../base/problem.ts'
import {
  address,
  choice,
  duration,
  int,
  judgePort,
  leaf,
  list,
  mistake,
  net,
  openapi,
  type Port,
  portRange,
  selectorText,
} from '../field.ts'
import { calicoKind } from '../kind.ts'
import { calicoHead } from '../metadata.ts'

/** One schema for many names. */
const every = <const N extends readonly string[], S extends z.ZodType>(names: N, schema: S) =>
  Object.fromEntries(names.map(name => [name, schema.optional()])) as { [K in N[number]]: z.ZodOptional<S> }

const MAX_INT = 2 ** 31 - 1
const pattern = (regex: RegExp, meaning: string) =>
  leaf(openapi(z.string(), { pattern: regex.source }), value =>
    regex.test(value) ? ok(value) : mistake(`is not ${meaning}`),
  )

const regularExpression = leaf(z.string(), (value): Result<string> => {
  try {
    // Go writes flags in front, where JavaScript does not know them.
    new RegExp(value.replace(/\(\?[imsU]+\)/g, ''))
    return ok(value)
  } catch {
    return mistake('is not a regular expression')
  }
})
/** A port number from 0, or a range `first:last`. */
const numericPorts = leaf(z.union([z.number(), z.string()]), (value): Result<Port> => {
  if (Number(value) === 0) return ok(0)
  const judged = judgePort(value)
  return judged.ok && portRange(judged.value) === undefined
    ? mistake('must be a port number or a range first:last')
    : judged
})
const failsafe = z.strictObject({
  protocol: choice(['TCP', 'UDP', 'SCTP']).optional(),
  port: int(0, 65535),
  net: net().optional(),
})
const tableRange = z.strictObject({ min: int(0, 2 ** 32 - 1), max: int(0, 2 ** 32 - 1) })
const host = pattern(/^[a-zA-Z0-9:._+-]{1,64}$/, 'a host name or address')
const interfaceNamed = pattern(/^[a-zA-Z0-9:._+-]{1,15}$/, 'an interface name')

const LEVELS = ['Trace', 'Debug', 'Info', 'Warning', 'Error', 'Fatal'] as const
const ON_OFF = ['Disabled', 'Enabled'] as const

const BOOLEANS = [
  ...['healthEnabled', 'prometheusMetricsEnabled', 'prometheusGoMetricsEnabled', 'prometheusProcessMetricsEnabled'],
  ...['prometheusWireGuardMetricsEnabled', 'allowIPIPPacketsFromWorkloads', 'allowVXLANPacketsFromWorkloads'],
  ...['disableConntrackInvalidCheck', 'ipv6Support', 'removeExternalRoutes', 'requireMTUFile', 'routeSyncDisabled'],
  ...['sidecarAccelerationEnabled', 'useInternalDataplaneDriver', 'bpfEnabled', 'bpfConnectTimeLoadBalancingEnabled'],
  ...['bpfDisableUnprivileged', 'bpfHostConntrackBypass', 'bpfIPFragmentReassemblyEnabled', 'bpfPolicyDebugEnabled'],
  ...[
    'bpfKubeProxyIptablesCleanupEnabled',
    'endpointReportingEnabled',
    'genericXDPEnabled',
    'xdpEnabled',
    'vxlanEnabled',
  ],
  ...[
    'ipipEnabled',
    'wireguardEnabled',
    'wireguardEnabledV6',
    'wireguardHostEncryptionEnabled',
    'wireguardThreadingEnabled',
  ],
  ...['flowLogsCollectorDebugTrace', 'debugDisableLogDropping', 'usageReportingEnabled'],
] as const

const DURATIONS = [
  ...['dataplaneWatchdogTimeout', 'interfaceRefreshInterval', 'liveMigrationRouteConvergenceTime', 'netlinkTimeout'],
  ...[
    'localSubnetL2ReachabilityRefreshInterval',
    'routeRefreshInterval',
    'ipsetsRefreshInterval',
    'iptablesRefreshInterval',
  ],
  ...['iptablesLockProbeInterval', 'iptablesPostWriteCheckInterval', 'bpfIPFragTimeout', 'bpfKubeProxyMinSyncPeriod'],
  ...['endpointReportingDelay', 'reportingInterval', 'reportingTTL', 'xdpRefreshInterval', 'wireguardKeepAlive'],
  ...['flowLogsFlushInterval', 'debugSimulateCalcGraphHangAfter', 'debugSimulateDataplaneApplyDelay'],
  ...['debugSimulateDataplaneHangAfter', 'usageReportingInitialDelay', 'usageReportingInterval'],
] as const

const PORTS = [
  'healthPort',
  'prometheusMetricsPort',
  'metadataPort',
  'debugPort',
  'bpfKubeProxyHealthzPort',
  'vxlanPort',
] as const

const COUNTS = [
  ...['maxIpsetSize', 'bpfExportBufferSizeMB', 'bpfExtToServiceConnmark', 'bpfMapSizeConntrack', 'bpfMapSizeIPSets'],
  ...['bpfMapSizeConntrackCleanupQueue', 'bpfMapSizeIfState', 'bpfMapSizeNATAffinity', 'bpfMapSizeNATBackend'],
  ...[
    'bpfMapSizeNATFrontend',
    'bpfMapSizePerCpuConntrack',
    'bpfMapSizeRoute',
    'vxlanMTU',
    'vxlanMTUV6',
    'vxlanVNI',
    'ipipMTU',
  ],
  ...[
    'wireguardListeningPort',
    'wireguardListeningPortV6',
    'wireguardMTU',
    'wireguardMTUV6',
    'wireguardRoutingRulePriority',
  ],
] as const

const PRIORITIES = [
  ...['ipv4ElevatedRoutePriority', 'ipv4NormalRoutePriority', 'ipv6ElevatedRoutePriority', 'ipv6NormalRoutePriority'],
] as const

const TEXTS = [
  ...['featureDetectOverride', 'featureGates', 'logFilePath', 'prometheusMetricsCAFile', 'prometheusMetricsCertFile'],
  ...['prometheusMetricsKeyFile', 'cgroupV2Path', 'dataplaneDriver', 'endpointStatusPathPrefix', 'interfaceExclude'],
  ...['policySyncPathPrefix', 'flowLogsGoldmaneServer', 'debugMemoryProfilePath', 'metadataAddr', 'openstackRegion'],
] as const

const PATTERNS = [
  ...['logDebugFilenameRegex', 'mtuIfacePattern', 'nftablesFlowTableDataIfacePattern', 'bpfDataIfacePattern'],
  ...['bpfDisableGROForIfaces', 'bpfL3IfacePattern'],
] as const

const spec = z.strictObject({
  nodeSelector: selectorText(),
  logSeverityScreen: choice(LEVELS).optional(),
  ...every(['logSeverityFile', 'logSeveritySys'], choice(LEVELS)),
  nftablesMode: choice(['Disabled', 'Enabled', 'Auto']).default('Auto'),
  nftablesFlowTableOffload: choice(['All', 'Disabled']).default('Disabled'),
  nftablesRefreshInterval: duration().optional(),
  bpfLogLevel: choice(['', 'Off', 'Info', 'Debug']).default(''),
  bpfConnectTimeLoadBalancing: choice(['TCP', 'Enabled', 'Disabled']).default('TCP'),
  bpfHostNetworkedNATWithoutCTLB: choice(ON_OFF).default('Enabled'),
  floatingIPs: choice(ON_OFF).default('Disabled'),

  interfacePrefix: pattern(/^[a-zA-Z0-9_-]{1,15}(,[a-zA-Z0-9_-]{1,15})*$/, 'a list of interface prefixes').optional(),
  defaultEndpointToHostAction: choice(['Drop', 'Accept', 'Return']).optional(),
  logPrefix: pattern(/^[a-zA-Z0-9%: /_-]*$/, 'a log prefix').optional(),
  logActionRateLimit: pattern(/^([1-9]\d{0,3}\/(?:second|minute|hour|day))?$/, 'a rate such as 10/minute').optional(),
  logActionRateLimitBurst: int(0, 9999).optional(),
  chainInsertMode: choice(['Insert', 'Append']).optional(),
  workloadSourceSpoofing: choice(['Disabled', 'Any']).optional(),
  serviceLoopPrevention: choice(['Drop', 'Reject', 'Disabled']).optional(),
  natOutgoingAddress: address().optional(),
  natOutgoingExclusions: choice(['IPPoolsOnly', 'IPPoolsAndHostIPs']).optional(),
  natPortRange: numericPorts.optional(),
  deviceRouteProtocol: int(0, 255).optional(),
  deviceRouteSourceAddress: address().optional(),
  deviceRouteSourceAddressIPv6: address().optional(),
  /** An empty list switches all failsafe ports off; absent means the built-in ones. */
  failsafeInboundHostPorts: z.array(failsafe).optional(),
  failsafeOutboundHostPorts: z.array(failsafe).optional(),
  kubeNodePortRanges: z.array(numericPorts).max(7).optional(),
  externalNodesList: list(net()),
  routeTableRange: tableRange.optional(),
  routeTableRanges: list(tableRange),
  routeSource: choice(['CalicoIPAM', 'WorkloadIPs']).optional(),
  programClusterRoutes: choice(['Enabled', 'Disabled', 'EnabledIPIPOnly', 'EnabledNoEncapOnly']).optional(),
  localSubnetL2Reachability: choice(['Disabled', 'PodsAndLoadBalancers']).optional(),
  istioDSCPMark: z.union([z.number(), z.string()]).optional(),
  awsSrcDstCheck: choice(['DoNothing', 'Enable', 'Disable']).optional(),
  prometheusMetricsClientAuth: choice([
    ...(['RequireAndVerifyClientCert', 'RequireAnyClientCert', 'VerifyClientCertIfGiven', 'NoClientCert'] as const),
  ]).optional(),
  healthTimeoutOverrides: list(
    z.strictObject({ name: pattern(/^[a-zA-Z0-9_ -]+$/, 'the name of a health reporter'), timeout: duration() }),
  ),
  iptablesBackend: choice(['Legacy', 'NFT', 'Auto']).optional(),
  iptablesNATOutgoingInterfaceFilter: interfaceNamed.optional(),
  flowLogsPolicyEvaluationMode: choice(['None', 'Continuous']).optional(),
  bpfAttachType: choice(['TC', 'TCX', 'Netkit']).optional(),
  bpfCTLBLogFilter: choice(['all']).optional(),
  bpfConntrackMode: choice(['Auto', 'Userspace', 'BPFProgram']).optional(),
  bpfConntrackLogLevel: choice(['Off', 'Debug']).optional(),
  bpfConntrackTimeouts: z.record(z.string(), z.string()).optional(),
  bpfEnforceRPF: choice(['Disabled', 'Strict', 'Loose']).optional(),
  bpfExternalServiceMode: choice(['Tunnel', 'DSR']).optional(),
  bpfJITHardening: choice(['Auto', 'Strict']).optional(),
  bpfLogFilters: z.record(z.string(), z.string()).optional(),
  bpfMapSizeConntrackScaling: choice(['Disabled', 'DoubleIfFull']).optional(),
  bpfOverlayHostSourceIP: choice(['HostAddress', 'TunnelAddress']).optional(),
  bpfPSNATPorts: numericPorts.optional(),
  bpfRedirectToPeer: choice(['Disabled', 'Enabled', 'L2Only']).optional(),
  bpfForceTrackPacketsFromIfaces: list(interfaceNamed),
  ...every(['bpfDSROptoutCIDRs', 'bpfExcludeCIDRsFromNAT'], z.array(net())),
  ...every(['bpfMaglevMaxEndpointsPerService', 'bpfMaglevMaxServices'], int(1, 3000)),
  ...every(
    ['ipForwarding', 'istioAmbientMode', 'bpfProfiling', 'windowsManageFirewallRules', 'flowLogsLocalReporter'],
    choice(ON_OFF),
  ),
  ...every(['iptablesFilterAllowAction', 'iptablesMangleAllowAction'], choice(['Accept', 'Return'])),
  ...every(['nftablesFilterAllowAction', 'nftablesMangleAllowAction'], choice(['Accept', 'Return'])),
  ...every(['iptablesFilterDenyAction', 'nftablesFilterDenyAction'], choice(['Drop', 'Reject'])),
  ...every(['iptablesMarkMask', 'nftablesMarkMask'], int(0, 2 ** 32 - 1)),
  ...every(['healthHost', 'prometheusMetricsHost', 'debugHost'], host),
  ...every(['wireguardInterfaceName', 'wireguardInterfaceNameV6'], interfaceNamed),
  ...every(['goGCThreshold', 'goMaxProcs', 'goMemoryLimitMB'], int(-1, MAX_INT)),
  ...every(BOOLEANS, z.boolean()),
  ...every(DURATIONS, duration()),
  ...every(PORTS, int(0, 65535)),
  ...every(COUNTS, int(0, MAX_INT)),
  ...every(PRIORITIES, int(1, 2147483646)),
  ...every(TEXTS, z.string()),
  ...every(PATTERNS, regularExpression),
})

export const felixConfiguration = calicoKind({
  kind: 'FelixConfiguration',
  plural: 'felixconfigurations',
  namespaced: false,
  aliases: ['felixconfig', 'felixconfigs'],
  schema: z.strictObject({ ...calicoHead('FelixConfiguration'), spec: spec.prefault({}) }),
  check: ({ metadata: { name }, spec: settings }) => {
    const problems: Problem[] = []
    const fixed = name === 'default' || name.startsWith('node.')
    if (fixed && settings.nodeSelector !== undefined) {
      problems.push({ path: 'spec.nodeSelector', message: `cannot be set in ${name}`, fix: 'use another name' })
    }
    if (!fixed && settings.nodeSelector === undefined) {
      const fix = 'name it default or node.<node name>, or give spec.nodeSelector'
      problems.push({ path: 'metadata.name', message: `${name} would apply to no node`, fix, value: name })
    }
    if (settings.routeTableRange && settings.routeTableRanges) {
      problems.push({
        path: 'spec.routeTableRanges',
        message: 'routeTableRange and routeTableRanges cannot both be set',
      })
    }
    return problems
  },
})
