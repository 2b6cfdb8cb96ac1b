/* What Canvas draws: boxes with ports, and links between them. Places are in the canvas's own units, one CSS pixel at
 * full size. */
export interface CanvasNode {
    id: string;
    x: number; // of its left upper corner
    y: number;
    width: number;
    height: number;
}

export interface CanvasEdge {
    id: string;
    from: string;
    to: string;
    /** Where it leaves and arrives, in units from the middle of the side. */
    fromPort?: number;
    toPort?: number;
}

export interface EdgeLook {
    width: number;
    colour: string;
    opacity?: number;
    /** Changed by the reader. */
    changed?: boolean;
}

/** A link from the right side of one box to the left side of another. */
export function edgePath(from: CanvasNode, to: CanvasNode, fromPort = 0, toPort = 0): string {
    const x0 = from.x + from.width,
        y0 = from.y + from.height / 2 + fromPort,
        x1 = to.x,
        y1 = to.y + to.height / 2 + toPort,
        middle = (x0 + x1) / 2;
    return `M${x0},${y0}C${middle},${y0} ${middle},${y1} ${x1},${y1}`;
}
