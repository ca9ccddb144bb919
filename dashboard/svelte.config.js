import adapter from '@sveltejs/adapter-static';

/** @type {import('@sveltejs/kit').Config} */
const config = {
	compilerOptions: { runes: true },
	kit: {
		// One page for every path: the orchestrator serves files and falls back to index.html, so
		// that a deep link such as /jobs/0190... opens where it points.
		adapter: adapter({ pages: 'build', assets: 'build', fallback: 'index.html', strict: true }),
		// What the page may load and run. connect-src stays open because the orchestrator's address
		// is the user's to set; scripts come from here and nowhere else.
		csp: {
			mode: 'hash',
			directives: {
				'default-src': ['self'],
				'script-src': ['self'],
				'style-src': ['self', 'unsafe-inline'],
				'img-src': ['self', 'data:'],
				'font-src': ['self'],
				'connect-src': ['self', 'http:', 'https:'],
				'object-src': ['none'],
				'base-uri': ['none'],
				'form-action': ['none']
			}
		},
		// One script: a chunk that is fetched later may be cut off, as when a container on this very
		// machine adds a network interface and the browser drops what is under way.
		output: { bundleStrategy: 'single' },
		version: { pollInterval: 0 }
	}
};

export default config;
