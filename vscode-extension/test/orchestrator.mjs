// A scripted orchestrator for the extension's tests: it answers the calls that
// the tree views and commands make and sends events when told to.
import { createServer } from 'node:http';

export class ScriptedOrchestrator {
	nodes = [
		{
			id: 'node-attic',
			hostname: 'attic',
			state: 'NODE_STATE_ONLINE',
			capabilities: {
				os: 'linux',
				arch: 'amd64',
				cpu: { logicalCores: 16 },
				memory: { totalBytes: '68719476736' },
				gpus: [{ model: 'NVIDIA GeForce RTX 3090', memoryBytes: '25769803776' }],
				runtimes: [{ name: 'podman', version: '5.4.2' }]
			},
			usage: { cpuPercent: 12, memoryUsedBytes: '8589934592', runningJobs: 1 }
		}
	];
	jobs = [
		{
			id: 'job-1',
			name: 'greet',
			state: 'JOB_STATE_RUNNING',
			attempts: [{ number: 1, nodeId: 'node-attic', state: 'ATTEMPT_STATE_RUNNING' }]
		}
	];
	deployments = [
		{
			name: 'tiny',
			state: 'DEPLOYMENT_STATE_READY',
			spec: { model: 'tiny', replicas: 1 },
			replicas: [{ id: 'r1', nodeId: 'node-attic', state: 'REPLICA_STATE_READY' }]
		}
	];
	#streams = new Set();
	#server;
	#lastId = 0;

	async start(port = 0) {
		this.#server = createServer((request, response) => this.#answer(request, response));
		await new Promise((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
		this.port = this.#server.address().port;
		this.url = `http://127.0.0.1:${this.port}`;
	}

	async stop() {
		this.#server.closeAllConnections();
		await new Promise((resolve) => this.#server.close(resolve));
	}

	send(name, object, type = 'EVENT_TYPE_UPDATED') {
		const id = String(++this.#lastId);
		const data = JSON.stringify({ id, type, [name]: object });
		for (const stream of this.#streams) {
			stream.write(`id: ${id}\nevent: ${name}\ndata: ${data}\n\n`);
		}
	}

	/** Deploys, scales and removes models, and tells of it. */
	#change(method, name, { spec }) {
		if (method === 'POST') {
			if (spec.model === 'refused') {
				return [409, { code: 6, message: 'deployment refused exists and differs', details: [] }];
			}
			const made = {
				name: spec.model.replace(/[^a-z0-9]+/g, '-'),
				state: 'DEPLOYMENT_STATE_PENDING',
				spec,
				replicas: []
			};
			this.deployments.push(made);
			this.send('deployment', made);
			return [200, made];
		}
		const deployment = this.deployments.find((d) => d.name === name);
		if (method === 'PATCH') {
			Object.assign(deployment.spec, spec);
			this.send('deployment', deployment);
			return [200, deployment];
		}
		this.deployments = this.deployments.filter((d) => d !== deployment);
		this.send('deployment', { name }, 'EVENT_TYPE_REMOVED');
		return [200, {}];
	}

	async #answer(request, response) {
		const { pathname } = new URL(request.url, this.url);
		if (request.method !== 'GET') {
			let text = '';
			for await (const chunk of request) {
				text += chunk;
			}
			const [status, body] = this.#change(
				request.method,
				pathname.split('/')[3],
				JSON.parse(text || '{}')
			);
			response.writeHead(status, { 'Content-Type': 'application/json' });
			response.end(JSON.stringify(body));
			return;
		}
		if (pathname === '/api/events') {
			response.writeHead(200, { 'Content-Type': 'text/event-stream' });
			response.write(': hello\n\n');
			this.#streams.add(response);
			response.on('close', () => this.#streams.delete(response));
			return;
		}
		const lists = { nodes: this.nodes, jobs: this.jobs, deployments: this.deployments };
		const kind = pathname.replace('/api/', '');
		const found = pathname.startsWith('/api/') && kind in lists;
		response.writeHead(found ? 200 : 404, { 'Content-Type': 'application/json' });
		response.end(
			JSON.stringify(
				found
					? { [kind]: lists[kind], nextPageToken: '' }
					: { code: 5, message: `no such path ${pathname}`, details: [] }
			)
		);
	}
}
