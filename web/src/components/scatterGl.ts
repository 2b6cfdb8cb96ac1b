/* Scatter's points by WebGL 2: one instanced square a point, cut to a disc in the fragment. Each series keeps its points on
 * the card, where they stood and where they go, so that gliding costs no upload. */

const VERTEX = `#version 300 es
layout(location = 0) in vec2 corner;
layout(location = 1) in vec2 from;
layout(location = 2) in vec2 to;
layout(location = 3) in vec4 colour;
uniform vec4 domain;   /* x from, 1 / x extent, y from, 1 / y extent */
uniform vec2 pixel;    /* two over the size in pixels */
uniform float radius, t;
uniform vec4 all;      /* alpha below 0: each point has its own */
uniform float opacity;
out vec2 at;
out vec4 ink;
void main() {
    vec2 p = mix(from, to, t);
    vec2 unit = vec2((p.x - domain.x) * domain.y, (p.y - domain.z) * domain.w) * 2.0 - 1.0;
    at = corner * (radius + 1.0);
    ink = (all.a < 0.0 ? colour : all) * vec4(1.0, 1.0, 1.0, opacity);
    gl_Position = vec4(unit + at * pixel, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float; /* as in the other, since they share a uniform */
in vec2 at;
in vec4 ink;
uniform float radius;
out vec4 fragment;
void main() {
    float cover = clamp(radius + 0.5 - length(at), 0.0, 1.0) * ink.a;
    if (cover <= 0.0) discard;
    fragment = vec4(ink.rgb * cover, cover);
}`;

export interface GlSeries {
    from: Float32Array;
    to: Float32Array;
    /** r g b a from 0 to 1, or bytes for each point. */
    colour: readonly [number, number, number, number] | Uint8Array;
    radius: number;
    opacity: number;
    t: number;
}

interface Kept {
    vao: WebGLVertexArrayObject;
    from: WebGLBuffer;
    to: WebGLBuffer;
    colour: WebGLBuffer;
    fromOf: Float32Array | null;
    toOf: Float32Array | null;
    colourOf: Uint8Array | null;
}

export class ScatterGl {
    private readonly gl: WebGL2RenderingContext;
    private readonly program: WebGLProgram;
    private readonly corner: WebGLBuffer;
    private readonly kept: Kept[] = [];
    private readonly at: Record<'domain' | 'pixel' | 'radius' | 't' | 'all' | 'opacity', WebGLUniformLocation | null>;

    /** Null where the browser has no WebGL 2, or one that cannot do this; the canvas is then spoilt for another context. */
    static on(canvas: HTMLCanvasElement, evenSoftware = false): ScatterGl | null {
        const gl = canvas.getContext('webgl2', { antialias: false, premultipliedAlpha: true, powerPreference: 'low-power' });
        if (!gl) return null;
        /* A GPU that is only pretended takes a second for what the processor alone draws in some hundredths. */
        const about = gl.getExtension('WEBGL_debug_renderer_info');
        const name = about ? String(gl.getParameter(about.UNMASKED_RENDERER_WEBGL)) : '';
        if (!evenSoftware && /swiftshader|llvmpipe|software|basic render/i.test(name)) return null;
        try {
            return new ScatterGl(gl);
        } catch (e) {
            console.warn('the scatter goes on without WebGL:', e);
            return null;
        }
    }

    private constructor(gl: WebGL2RenderingContext) {
        this.gl = gl;
        const part = (type: number, source: string): WebGLShader => {
            const shader = gl.createShader(type);
            if (!shader) throw new Error('no shader');
            gl.shaderSource(shader, source);
            gl.compileShader(shader);
            if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader) ?? 'shader');
            return shader;
        };
        this.program = gl.createProgram();
        gl.attachShader(this.program, part(gl.VERTEX_SHADER, VERTEX));
        gl.attachShader(this.program, part(gl.FRAGMENT_SHADER, FRAGMENT));
        gl.linkProgram(this.program);
        if (!gl.getProgramParameter(this.program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(this.program) ?? 'program');
        const uniform = (name: string): WebGLUniformLocation | null => gl.getUniformLocation(this.program, name);
        this.at = { domain: uniform('domain'), pixel: uniform('pixel'), radius: uniform('radius'), t: uniform('t'), all: uniform('all'), opacity: uniform('opacity') };
        this.corner = gl.createBuffer();
        gl.bindBuffer(gl.ARRAY_BUFFER, this.corner);
        gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
        gl.enable(gl.BLEND);
        gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    }

    private series(i: number): Kept {
        const gl = this.gl;
        let kept = this.kept[i];
        if (kept) return kept;
        kept = { vao: gl.createVertexArray(), from: gl.createBuffer(), to: gl.createBuffer(), colour: gl.createBuffer(), fromOf: null, toOf: null, colourOf: null };
        gl.bindVertexArray(kept.vao);
        const attribute = (at: number, buffer: WebGLBuffer, size: number, type: number, normal: boolean, each: number): void => {
            gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
            gl.enableVertexAttribArray(at);
            gl.vertexAttribPointer(at, size, type, normal, 0, 0);
            gl.vertexAttribDivisor(at, each);
        };
        attribute(0, this.corner, 2, gl.FLOAT, false, 0);
        attribute(1, kept.from, 2, gl.FLOAT, false, 1);
        attribute(2, kept.to, 2, gl.FLOAT, false, 1);
        attribute(3, kept.colour, 4, gl.UNSIGNED_BYTE, true, 1);
        this.kept[i] = kept;
        return kept;
    }

    private upload(buffer: WebGLBuffer, data: Float32Array | Uint8Array): void {
        this.gl.bindBuffer(this.gl.ARRAY_BUFFER, buffer);
        this.gl.bufferData(this.gl.ARRAY_BUFFER, data, this.gl.DYNAMIC_DRAW);
    }

    draw(series: readonly GlSeries[], domain: readonly [number, number, number, number], width: number, height: number): void {
        const gl = this.gl;
        gl.viewport(0, 0, width, height);
        gl.clearColor(0, 0, 0, 0);
        gl.clear(gl.COLOR_BUFFER_BIT);
        gl.useProgram(this.program);
        gl.uniform4f(this.at.domain, domain[0], 1 / (domain[1] - domain[0]), domain[2], 1 / (domain[3] - domain[2]));
        gl.uniform2f(this.at.pixel, 2 / width, 2 / height);
        series.forEach((s, i) => {
            const kept = this.series(i);
            if (s.to.length === 0) return;
            gl.bindVertexArray(kept.vao);
            if (kept.fromOf !== s.from) this.upload(kept.from, (kept.fromOf = s.from));
            if (kept.toOf !== s.to) this.upload(kept.to, (kept.toOf = s.to));
            const own = s.colour instanceof Uint8Array ? s.colour : null;
            const colours = own ?? kept.colourOf ?? new Uint8Array(2 * s.to.length);
            if (kept.colourOf !== colours || colours.length < 2 * s.to.length) {
                kept.colourOf = colours.length < 2 * s.to.length ? new Uint8Array(2 * s.to.length) : colours;
                this.upload(kept.colour, kept.colourOf);
            }
            const [r, g, b, a] = s.colour instanceof Uint8Array ? [0, 0, 0, -1] : s.colour;
            gl.uniform4f(this.at.all, r, g, b, a);
            gl.uniform1f(this.at.radius, s.radius);
            gl.uniform1f(this.at.opacity, s.opacity);
            gl.uniform1f(this.at.t, s.t);
            gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, s.to.length / 2);
        });
        gl.bindVertexArray(null);
    }

    get lost(): boolean {
        return this.gl.isContextLost();
    }

    free(): void {
        for (const k of this.kept) {
            this.gl.deleteVertexArray(k.vao);
            for (const b of [k.from, k.to, k.colour]) this.gl.deleteBuffer(b);
        }
        this.gl.deleteBuffer(this.corner);
        this.gl.deleteProgram(this.program);
        this.gl.getExtension('WEBGL_lose_context')?.loseContext();
    }
}
