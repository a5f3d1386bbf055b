from .heads import Panel as Panel
from .heads import heatmap as heatmap
from .heads import heatmaps as heatmaps
from .heads import scatter as scatter
from .style import in_house_style as in_house_style
from .style import new_figure as new_figure
from .style import save as save
