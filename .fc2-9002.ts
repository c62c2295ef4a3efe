import { PolicyDataplane } from '/work/main/src/apps/agent/dataplane.ts'
import { Metrics } from '/work/main/src/apps/agent/metrics.ts'
import { openNft } from '/work/main/src/io/kernel/nft-table.ts'
import pino from 'pino'
import { execFileSync } from 'node:child_process'
const n=`gfc${process.pid}`
execFileSync('ip',['netns','add',n])
try {
const nft=openNft(`/run/netns/${n}`)
const w=nft.writeBatch.bind(nft)
nft.writeBatch=((ops:any,t:any)=>{console.log(ops.length, [...new Set(ops.map((o:any)=>o.op))], JSON.stringify(ops[0]).slice(0,200)); w(ops,t)}) as any
const d=new PolicyDataplane({node:'a',kernel:nft,log:pino({level:'info'}),metrics:new Metrics(),onProgrammed:()=>{}} as any)
d.failClosed()
console.log(execFileSync('ip',['netns','exec',n,'nft','list','ruleset'],{encoding:'utf8'}).slice(0,300))
console.log(d.status())
d.stop()
} finally { execFileSync('ip',['netns','del',n]) }
process.exit()
