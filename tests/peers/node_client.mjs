// The xen-api package from npm works with the simulated pool: JSON-RPC, its event loop, its object cache, its tasks.
import assert from 'node:assert/strict'
import { createClient } from 'xen-api'

const [url, expected] = process.argv.slice(2)
const xapi = createClient({ url, allowUnauthorized: true, auth: { user: 'root', password: 'xensnap' } })

const within = (promise, what) =>
  Promise.race([promise, new Promise((_, no) => setTimeout(() => no(new Error(`${what} took over 60 s`)), 60_000).unref())])

const isPlain = object =>
  object.$type === 'VM' && !object.is_a_template && !object.is_a_snapshot && !object.is_control_domain

await within(xapi.connect(), 'connecting')
await within(xapi.objectsFetched, 'filling the object cache')
const objects = Object.values(xapi.objects.all)
const vms = objects.filter(isPlain)
console.log(`${objects.length} objects cached, ${vms.length} virtual machines, pool ${xapi.pool.uuid}`)
assert.equal(vms.length, Number(expected), 'the object cache did not fill')

const vm = vms.sort((a, b) => (a.$ref < b.$ref ? -1 : 1))[0]
const ref = await within(xapi.callAsync('VM.snapshot', vm.$ref, 'taken by xen-api'), 'VM.snapshot')
const snapshot = await within(xapi.barrier(ref), 'the barrier')
assert.equal(snapshot.snapshot_of, vm.$ref)
assert.ok(snapshot.is_a_snapshot)
const vdis = snapshot.$VBDs.filter(vbd => vbd.type === 'Disk').map(vbd => vbd.VDI)
await within(xapi.callAsync('VM.destroy', ref), 'VM.destroy')
for (const vdi of vdis) await within(xapi.callAsync('VDI.destroy', vdi), 'VDI.destroy')
await within(xapi.barrier(), 'the second barrier')
assert.equal(xapi.getObjectByRef(ref, null), null, 'a destroyed snapshot is still cached')
await assert.rejects(xapi.call('VM.get_record', ref), { code: 'HANDLE_INVALID' })
await within(xapi.disconnect(), 'disconnecting')
console.log('npm xen-api: fine')
process.exit(0)
